"""How a value changes over training: pure functions of progress.

``progress`` runs from 0 (the schedule begins) to 1 (it has ended). Every rule starts at
``start`` for progress 0 and, but for ``step``, ends at ``end`` for progress 1.
"""

import math
from collections.abc import Callable, Sequence


def constant(progress: float, start: float, end: float) -> float:
    """Stay at ``start`` whatever the progress."""
    return start


def linear(progress: float, start: float, end: float) -> float:
    """Change by equal amounts: ``start + (end - start) * progress``."""
    return start + (end - start) * progress


def cosine(progress: float, start: float, end: float) -> float:
    """Change along half a cosine: slowly at first and at last."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def exp(progress: float, start: float, end: float) -> float:
    """Change by equal factors: ``start * (end / start) ** progress``.

    Raises:
        ValueError: ``start`` and ``end`` are not both positive or both negative.
    """
    if start * end <= 0:
        raise ValueError(
            f"rule 'exp' needs start and end of one sign, got {start} and {end}"
        )
    return start * (end / start) ** progress


def step(
    progress: float, start: float, end: float, milestones: Sequence[float] = (0.5,)
) -> float:
    """Jump by equal amounts at each milestone.

    Args:
        progress: From 0 to 1.
        start: Value before the first milestone.
        end: Value from the last milestone on.
        milestones: Progress at which it jumps, each from 0 to 1.

    Returns:
        The value.
    """
    passed = sum(progress >= milestone for milestone in milestones)
    return start + (end - start) * passed / len(milestones)


RULES: dict[str, Callable[..., float]] = {
    'constant': constant,
    'linear': linear,
    'cosine': cosine,
    'exp': exp,
    'step': step,
}


def scheduled_value(
    rule: str, now: float, begin: float, end: float, values: tuple, **options
) -> float:
    """Evaluate a rule at a point of the training.

    Args:
        rule: Key of :data:`RULES`.
        now: The point, in iterations or epochs.
        begin: Where the schedule begins; before it, the first value holds.
        end: Where it ends; from there on, the last value holds. At ``end == begin``
            the value jumps.
        values: The first and the last value.
        **options: The rule's own settings (``milestones``).

    Returns:
        The value.

    Raises:
        ValueError: Unknown rule, or a schedule that ends before it begins.
    """
    if rule not in RULES:
        raise ValueError(f'unknown rule {rule!r}: choose from {", ".join(RULES)}')
    if end < begin:
        raise ValueError(f'the schedule ends ({end}) before it begins ({begin})')
    if now < begin:
        progress = 0.0
    elif now >= end:
        progress = 1.0
    else:
        progress = (now - begin) / (end - begin)
    return RULES[rule](progress, *values, **options)
