"""Plain functions behind the metrics."""

from collections.abc import Sequence

import numpy as np

from dynnet.utils.errors import ConfigError


def calibration_error(
    confidences: np.ndarray, correct: np.ndarray, num_bins: int = 15
) -> float:
    """Expected calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    Bins of equal width over (0, 1]; the mean over samples of the distance between a
    bin's accuracy and its mean confidence.

    Args:
        confidences: Shape (N,), in [0, 1].
        correct: Shape (N,), whether the prediction is right.
        num_bins: Number of bins.

    Returns:
        The error in [0, 1].
    """
    bins = np.ceil(confidences.astype(np.float64) * num_bins).astype(np.int64) - 1
    bins = bins.clip(0, num_bins - 1)
    gaps = np.bincount(
        bins, weights=correct - confidences.astype(np.float64), minlength=num_bins
    )
    return float(np.abs(gaps).sum() / len(confidences))


def sample_label(data_sample: dict, metric: str) -> int:
    """The label of a data sample.

    Args:
        data_sample: As metrics get it, with ``gt_label``.
        metric: Who asks; begins the message.

    Returns:
        The class index.

    Raises:
        ConfigError: There is no ``gt_label``, or there are several labels.
    """
    label = np.asarray(sample_field(data_sample, 'gt_label', metric)).reshape(-1)
    if label.size != 1:
        raise ConfigError(f'{metric} needs one label per sample, got {label.tolist()}')
    return int(label[0])


def sample_field(data_sample: dict, key: str, metric: str) -> np.ndarray:
    """A field of a data sample as a NumPy array.

    Args:
        data_sample: As metrics get it.
        key: The field.
        metric: Who asks; begins the message.

    Returns:
        The array, on the CPU.

    Raises:
        ConfigError: The field is missing; the message names the mode that fills it.
    """
    if key not in data_sample:
        mode = 'execute' if key in ('cost', 'exit_index') else 'simulate'
        hint = '' if key == 'gt_label' else f" (the model's test_cfg mode {mode!r})"
        raise ConfigError(f'{metric} needs the field {key!r} of the data samples{hint}')
    value = data_sample[key]
    return (
        value.detach().cpu().numpy() if hasattr(value, 'detach') else np.asarray(value)
    )


def unit_key(unit: str) -> str:
    """A cost unit as part of a metric's name: ``'MACs'`` becomes ``'macs'``."""
    return unit.lower().replace(' ', '_').replace('/', '_per_')


def check_exit_costs(
    costs: Sequence[float] | None, num_exits: int, metric: str
) -> np.ndarray | None:
    """Cumulative costs as an array, None where they are not known.

    Args:
        costs: One per exit, or None.
        num_exits: E.
        metric: Who asks; begins the message.

    Returns:
        Shape (E,), float64, or None.

    Raises:
        ConfigError: Not one cost per exit.
    """
    if costs is None:
        return None
    if len(costs) != num_exits:
        raise ConfigError(
            f'{metric} got {len(costs)} exit costs for {num_exits} exits: {list(costs)}'
        )
    return np.asarray(costs, dtype=np.float64)


def format_cost(value: float, unit: str) -> str:
    """A cost for a table: large counts in millions, anything else as it is.

    Args:
        value: The cost.
        unit: ``'MACs'``, ``'ms'``, ...

    Returns:
        ``'12.34M'`` or ``'3.21'``.
    """
    if unit.lower() in ('macs', 'flops'):
        return f'{value / 1e6:.2f}M'
    return f'{value:.4g}'


def format_shares(fractions: Sequence[float]) -> str:
    """Fractions of the samples per exit as percentages: ``'50 30 20'``."""
    return ' '.join(f'{100 * f:.0f}' for f in fractions)


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table as text: the first column to the left, the others to the right.

    Args:
        header: Titles of the columns.
        rows: The cells, as text.

    Returns:
        Lines of equal width, without a final newline.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        rest = [cell.rjust(w) for cell, w in zip(cells[1:], widths[1:], strict=True)]
        return '  '.join([cells[0].ljust(widths[0]), *rest])

    return '\n'.join([line(header), line(['-' * w for w in widths]), *map(line, rows)])
