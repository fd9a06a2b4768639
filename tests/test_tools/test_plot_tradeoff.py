"""Quality against MACs: points by hand, bad files named."""

import importlib.util
import json
from pathlib import Path

import pytest

from dynnet.utils.errors import DataError
from dynnet.visualization.tradeoff import plot_tradeoff

PATH = Path(__file__).parents[2] / 'tools/analysis_tools/plot_tradeoff.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('plot_tradeoff', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(tmp_path):
    def write(name, **metrics):
        path = tmp_path / name
        path.write_text(json.dumps(metrics))
        return str(path)

    return write


def test_points_are_means_over_seeds():
    figure = plot_tradeoff({'gates': {'t=0.5': [(4e6, 80.0), (6e6, 84.0)]}})
    (axes,) = figure.axes
    (point,) = axes.containers
    assert point.lines[0].get_xydata().tolist() == [[5.0, 82.0]]
    (bar,) = point.lines[2]
    assert bar.get_segments()[0].tolist() == [[5.0, 80.0], [5.0, 84.0]]
    assert [text.get_text() for text in axes.texts] == ['t=0.5']
    with pytest.raises(ValueError, match='no networks'):
        plot_tradeoff({})


def test_draws_gated_and_dense(tool, write, tmp_path, capsys):
    gated = [
        write(f'las{i}.json', **{'gates/mean_macs': 5e6 + i, 'accuracy/top1': 80 + i})
        for i in range(2)
    ]
    dense = write('dense.json', **{'accuracy/top1': 81})
    out = tmp_path / 'deep/plot.png'
    argv = ['--out', str(out), '--gated', 't=0.5', *gated]
    tool.main([*argv, '--dense', 'narrow', '7.8e6', dense])
    assert out.stat().st_size > 1000 and 'from 3 tests' in capsys.readouterr().out


def test_what_is_wrong_is_named(tool, write, tmp_path):
    out = ['--out', str(tmp_path / 'plot.png')]
    dense = write('dense.json', **{'accuracy/top1': 81})
    with pytest.raises(DataError, match="dense.json has no metric 'gates/mean_macs'"):
        tool.main([*out, '--gated', 'las', dense])
    with pytest.raises(DataError, match="dense.json has no metric 'coco/mAP'"):
        tool.main([*out, '--dense', 'a', '1', dense, '--metric', 'coco/mAP'])
    with pytest.raises(DataError, match='none.json: '):
        tool.main([*out, '--gated', 'las', 'none.json'])
    with pytest.raises(DataError, match='--dense a: its MACs follow the name'):
        tool.main([*out, '--dense', 'a', dense])
    with pytest.raises(DataError, match='las: no metrics file after the name'):
        tool.main([*out, '--gated', 'las'])
    with pytest.raises(DataError, match='nothing to draw'):
        tool.main(out)
