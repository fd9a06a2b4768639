import numpy as np
import pytest

from dynnet.utils.errors import DataError
from dynnet.visualization import plot_sample_weights, weights_by_difficulty


def test_groups_go_from_easy_to_hard():
    losses = np.array([[4.0, 4], [1, 1], [3, 3], [2, 2]])
    weights = np.array([[0.4, 1.6], [1.1, 0.9], [0.7, 1.3], [1.0, 1.0]])
    table = weights_by_difficulty(losses, weights, groups=2)
    assert np.allclose(table, [[1.05, 0.95], [0.55, 1.45]])
    with pytest.raises(DataError, match='4 samples cannot make 5 groups'):
        weights_by_difficulty(losses, weights, groups=5)


def test_picture_has_a_panel_for_every_exit(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        'dynnet.visualization.sample_weights.save_figure',
        lambda figure, path: figures.append(figure),
    )
    losses = np.random.default_rng(0).random((30, 3))
    losses[0, 0] = 0  # has no logarithm
    plot_sample_weights(losses, 2 - losses, tmp_path / 'w.png', title='weights')
    axes = figures[0].axes
    assert [axis.get_title() for axis in axes] == ['exit 1', 'exit 2', 'exit 3']
    medians = axes[1].get_lines()[0].get_ydata()
    assert len(medians) == 10 and (np.diff(medians) < 0).all()


def test_picture_is_written(tmp_path):
    path = tmp_path / 'new' / 'w.png'
    plot_sample_weights(np.ones((4, 2)), np.ones((4, 2)), path)
    assert path.read_bytes()[:4] == b'\x89PNG'


def test_other_tables_are_refused(tmp_path):
    with pytest.raises(DataError, match=r'got \(3, 2\) and \(3, 1\)'):
        plot_sample_weights(np.ones((3, 2)), np.ones((3, 1)), tmp_path / 'w.png')
