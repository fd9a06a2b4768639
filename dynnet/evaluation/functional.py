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


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from logits.

    Args:
        logits: Shape (..., K).

    Returns:
        Shape (..., K), summing to one over the last axis.
    """
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of the samples whose label is among the k best scores.

    Args:
        scores: Shape (N, K).
        labels: Shape (N,), class indices.
        k: At K or more, every sample is right.

    Returns:
        The share, in [0, 1]. Of equal scores, the lower class ranks first.
    """
    best = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    return float((best == np.asarray(labels)[:, None]).any(axis=1).mean())


def average_precisions(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Average precision per class, not interpolated.

    The samples are ranked by a class's score; AP is the mean over its positives of the
    precision at their rank.

    Args:
        scores: Shape (N, K), comparable between samples.
        positives: Shape (N, K), bool.

    Returns:
        Shape (K,) in [0, 1]; NaN for a class without positives, which nothing can be
        said about.
    """
    order = np.argsort(-scores, axis=0, kind='stable')
    hits = np.take_along_axis(np.asarray(positives, bool), order, axis=0)
    ranks = np.arange(1, len(hits) + 1)[:, None]
    precisions = np.cumsum(hits, axis=0) / ranks
    number = hits.sum(axis=0)
    total = (precisions * hits).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def wilson_interval(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Args:
        hits: Successes.
        total: Trials, at least 1.
        z: Quantile of the normal distribution; the default gives 95 %.

    Returns:
        Lower and upper bound, in [0, 1].
    """
    p, square = hits / total, z * z
    centre = (p + square / (2 * total)) / (1 + square / total)
    half = z * np.sqrt(p * (1 - p) / total + square / (4 * total * total))
    half = float(half / (1 + square / total))
    return max(0.0, centre - half), min(1.0, centre + half)


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
