"""The gallery shows the pictures and what was said about them."""

import numpy as np
import pytest

from dynnet.visualization import GalleryPicture, choose_pictures, plot_exit_gallery
from dynnet.visualization.figure import RIGHT, WRONG


def picture(value: int, prediction: str = 'cat', shape=(8, 8)) -> GalleryPicture:
    return GalleryPicture(np.full(shape, value, np.uint8), 'cat', prediction, 0.75)


def test_choice_is_seeded_and_from_the_exit():
    exits = np.random.default_rng(0).integers(0, 3, 300)
    chosen = choose_pictures(exits, 1, number=20)
    assert len(set(chosen)) == 20 and (exits[chosen] == 1).all()
    assert (np.diff(chosen) > 0).all()
    assert (choose_pictures(exits, 1, number=20) == chosen).all()
    assert (choose_pictures(exits, 1, number=20, seed=1) != chosen).any()
    assert chosen.tolist() != np.flatnonzero(exits == 1)[:20].tolist()


def test_choice_when_there_are_few():
    exits = np.array([0, 2, 0, 2, 2])
    assert choose_pictures(exits, 2, number=20).tolist() == [1, 3, 4]
    assert choose_pictures(exits, 1, number=20).tolist() == []


def test_pictures_captions_and_colours(tmp_path):
    path = tmp_path / 'gallery.png'
    early = [picture(10), picture(20, prediction='dog')]
    late = [picture(30, shape=(8, 8, 3))]
    figure = plot_exit_gallery(early, late, path, titles=('easy', 'hard'))
    assert path.read_bytes().startswith(b'\x89PNG')
    left, right = figure.subfigs
    assert (left.get_suptitle(), right.get_suptitle()) == ('easy', 'hard')
    images = [axes.images[0].get_array() for axes in left.axes if axes.images]
    assert [int(np.asarray(image).max()) for image in images] == [10, 20]
    assert np.asarray(right.axes[0].images[0].get_array()).shape == (8, 8, 3)
    first, second = (axes.texts[0] for axes in left.axes[:2])
    assert first.get_text() == 'cat\n0.75' and first.get_color() == RIGHT
    assert second.get_text() == 'cat, not\ndog 0.75' and second.get_color() == WRONG
    # grey pictures keep their brightness: white is 255, not the picture's maximum
    assert left.axes[0].images[0].get_clim() == (0, 255)


@pytest.mark.parametrize('number', [0, 1, 4, 9])
def test_both_groups_have_the_same_grid(number):
    figure = plot_exit_gallery([picture(1)] * 9, [picture(2)] * number, columns=4)
    left, right = figure.subfigs
    assert len(left.axes) == len(right.axes) == 12
    assert sum(bool(axes.images) for axes in right.axes) == number
    if number == 0:
        assert [text.get_text() for text in right.texts if text.get_text() == '(none)']
