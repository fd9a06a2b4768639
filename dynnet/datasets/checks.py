"""Checks that several datasets share."""


def label_problem(label: int, num_classes: int | None) -> str | None:
    """Say what is wrong with a label.

    Args:
        label: The label.
        num_classes: Number of classes; None when it is not known.

    Returns:
        The complaint, or None for a label that is right.
    """
    if num_classes is not None and not 0 <= label < num_classes:
        return f'label {label} is not between 0 and {num_classes - 1}'
    return f'label {label} is negative' if label < 0 else None
