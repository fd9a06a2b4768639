"""The overlay shows the maps, the numbers and what was predicted."""

import numpy as np
import pytest

from dynnet.visualization import PictureMaps, plot_cam_overlay
from dynnet.visualization.figure import RIGHT, WRONG


def maps(prediction: str, size: int = 4) -> PictureMaps:
    ramp = np.linspace(0, 1, size * size).reshape(size, size)
    return PictureMaps(ramp, ramp[::-1], prediction, 0.25, 0.5)


@pytest.mark.parametrize('shape', [(16, 20), (16, 20, 3)])
def test_rows_columns_numbers_and_colours(shape, tmp_path):
    path = tmp_path / 'cams.png'
    images = [np.full(shape, value, np.uint8) for value in (10, 200)]
    nets = {
        'plain': [maps('cat'), maps('cat')],
        'ours': [maps('cat', 7), maps('dog', 7)],
    }
    figure = plot_cam_overlay(images, ['cat', 'dog'], nets, path)
    assert path.read_bytes().startswith(b'\x89PNG')
    axes = np.array(figure.axes).reshape(2, 5)
    assert int(np.asarray(axes[1, 0].images[0].get_array()).max()) == 200
    assert axes[0, 1].get_title() == 'plain: CAAM' and axes[0, 4].get_title().endswith(
        ': CAM'
    )
    assert axes[0, 1].get_xlabel() == 'distance 0.250\ninside 50%'
    colours = [axes[1, c].xaxis.label.get_color() for c in (2, 4)]
    assert colours == [WRONG, RIGHT]
    heat = axes[0, 3].images[1]
    assert heat.get_array().shape == (7, 7)
    assert list(heat.get_extent()) == [-0.5, 19.5, 15.5, -0.5]  # over the whole picture
