"""The curve shows the numbers it was given."""

import numpy as np
import pytest

from dynnet.visualization import EarlyExitRun, plot_budget_curve
from dynnet.visualization.budget_curve import average_points

METRICS = {
    'anytime/exit1_top1': 80.0,
    'anytime/exit1_ece': 1.0,
    'anytime/exit1_macs': 2e6,
    'anytime/exit2_top1': 90.0,
    'anytime/exit2_macs': 6e6,
    'anytime/last_top1': 90.0,
    'budgeted/p20_top1': 88.0,
    'budgeted/p20_macs': 4e6,
    'budgeted/budget3000000_top1': 85.0,
    'budgeted/budget3000000_macs': 3e6,
}


def scaled(shift: float) -> dict:
    return {
        key: value + (shift if key.endswith('top1') else 1e5 * shift)
        for key, value in METRICS.items()
    }


def test_reads_what_the_test_tool_writes():
    run = EarlyExitRun.from_metrics(METRICS)
    assert run.anytime == {'exit1': (2e6, 80.0), 'exit2': (6e6, 90.0)}
    assert run.budgeted == {'p20': (4e6, 88.0), 'budget3000000': (3e6, 85.0)}


@pytest.mark.parametrize(
    'metrics', [{}, {'accuracy/top1': 3.0}, {'anytime/exit1_top1': 1.0}]
)
def test_refuses_other_metrics(metrics):
    with pytest.raises(ValueError, match='anytime/exit1_top1'):
        EarlyExitRun.from_metrics(metrics)


def test_other_unit():
    metrics = {'anytime/exit1_top1': 80.0, 'anytime/exit1_ms': 3.5}
    run = EarlyExitRun.from_metrics(metrics, unit='ms')
    assert run.anytime == {'exit1': (3.5, 80.0)}
    axes = plot_budget_curve({'net': [run]}).axes[0]
    assert '(ms)' in axes.get_xlabel()
    assert axes.containers[0].lines[0].get_xdata() == pytest.approx([3.5])


def test_average_over_runs_is_per_point_and_sorted():
    runs = [
        {'b': (4.0, 80.0), 'a': (1.0, 60.0), 'only here': (9.0, 1.0)},
        {'a': (3.0, 70.0), 'b': (6.0, 90.0)},
    ]
    costs, mean, low, high = average_points(runs)
    assert costs.tolist() == [2.0, 5.0]
    assert mean.tolist() == [65.0, 85.0]
    assert low.tolist() == [60.0, 80.0]
    assert high.tolist() == [70.0, 90.0]


def test_draws_the_points_of_one_run(tmp_path):
    path = tmp_path / 'new' / 'curve.png'
    figure = plot_budget_curve(
        {'net': [EarlyExitRun.from_metrics(METRICS)]}, path, title='A title'
    )
    axes = figure.axes[0]
    line = next(line for line in axes.lines if 'leaving early' in line.get_label())
    assert line.get_xdata() == pytest.approx([3.0, 4.0])  # million
    assert line.get_ydata() == pytest.approx([85.0, 88.0])
    squares = axes.containers[0].lines[0]
    assert squares.get_xdata() == pytest.approx([2.0, 6.0])
    assert squares.get_ydata() == pytest.approx([80.0, 90.0])
    assert [text.get_text() for text in axes.texts] == ['1', '2']
    assert axes.get_title() == 'A title' and 'million MACs' in axes.get_xlabel()
    assert path.read_bytes().startswith(b'\x89PNG')


def test_runs_with_different_seeds_become_mean_and_band():
    runs = [EarlyExitRun.from_metrics(scaled(shift)) for shift in (0.0, 1.0, 5.0)]
    axes = plot_budget_curve({'net': runs}).axes[0]
    line = next(line for line in axes.lines if 'leaving early' in line.get_label())
    assert '3 runs' in line.get_label()
    assert line.get_ydata() == pytest.approx([87.0, 90.0])
    assert line.get_xdata() == pytest.approx([3.2, 4.2])
    band = axes.collections[0].get_paths()[0].vertices
    at_first = sorted(set(np.round(band[np.isclose(band[:, 0], 3.2), 1], 6)))
    assert at_first == pytest.approx([85.0, 90.0])


def test_several_networks_and_one_without_calibration():
    only_anytime = EarlyExitRun(anytime={'exit1': (1e6, 50.0)})
    full = EarlyExitRun.from_metrics(METRICS)
    axes = plot_budget_curve({'A': [full], 'B': [only_anytime]}).axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert sum('leaving early' in label for label in labels) == 1
    assert sum(label.startswith('B') for label in labels) == 1
    colours = {container.lines[0].get_color() for container in axes.containers}
    assert len(colours) == 2


def test_nothing_to_draw():
    with pytest.raises(ValueError, match='no runs'):
        plot_budget_curve({})
    with pytest.raises(ValueError, match='no runs'):
        plot_budget_curve({'net': []})
    runs = [EarlyExitRun({'exit1': (1.0, 1.0)}, unit=unit) for unit in ('macs', 'ms')]
    with pytest.raises(ValueError, match="'macs', 'ms'"):
        plot_budget_curve({'net': runs})
