"""Rebuild the weights and the inputs of a parity case from its JSON file.

A case is ``NAME.json`` (facts) and ``NAME.npz`` (the numbers that the
published implementation returned).
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .fill import fill_input, fill_state_dict

TRANSFORMS = {
    'none': lambda x: x,
    'relu': lambda x: np.maximum(x, 0).astype(np.float32),
    'relu6_2x': lambda x: np.clip(2 * x, 0, 6).astype(np.float32),
    'unit': lambda x: (0.5 + 0.5 * np.tanh(x)).clip(0, 1).astype(np.float32),
    '0.2x': lambda x: (np.float32(0.2) * x).astype(np.float32),
    '0.3x': lambda x: (np.float32(0.3) * x).astype(np.float32),
    '3x': lambda x: (np.float32(3) * x).astype(np.float32),
}
# Rules in words that are one transform of one named array.
RULES = {'1.5 * abs(fill_input)': lambda x: (1.5 * np.abs(x)).astype(np.float32)}


def make_weights(meta: Mapping[str, Any], keys: str = 'keys') -> dict[str, np.ndarray]:
    """Return ``{published name: array}`` with the case's overrides applied.

    ``overrides`` is either ``{name: values}`` (the array is replaced) or a
    list of ``{"match": regex, "ndim": n or None, "scale": s}`` (arrays whose
    name matches and that have ``n`` axes are multiplied by float32(s), in
    order). ``post_fill`` in an ARC case says in words what it changes.
    """
    weights = dict(fill_state_dict(meta.get(keys) or []))
    overrides = meta.get('overrides') or {}
    if isinstance(overrides, Mapping):
        for name, values in overrides.items():
            if name in weights:
                weights[name] = np.asarray(values, dtype=weights[name].dtype).reshape(
                    weights[name].shape
                )
    else:
        for rule in overrides:
            for name, array in weights.items():
                if re.search(rule['match'], name) and rule.get('ndim') in (
                    None,
                    array.ndim,
                ):
                    weights[name] = (array * np.float32(rule['scale'])).astype(
                        array.dtype
                    )
    return weights


def make_input(spec: Mapping[str, Any]) -> np.ndarray:
    """Return the float32 array of one input spec (name, shape, transform).

    Raises:
        ValueError: the spec gives a rule in words that this function does not
            know; see :func:`make_l2w_batch` and :func:`make_eval_table`.
    """
    rule = spec.get('rule')
    if not spec.get('name') or (rule and rule not in RULES):
        raise ValueError(f'no single array: {rule!r}')
    if spec['name'] == 'ramp':
        b, c, h, w = spec['shape']
        ramp = np.arange(c * h * w, dtype=np.float64).reshape(1, c, h, w)
        ramp = ramp / (c * h * w) + np.arange(b).reshape(b, 1, 1, 1)
        return ramp.astype(np.float32)
    x = fill_input(spec['name'], spec['shape'])
    if rule:
        return RULES[rule](x)
    return TRANSFORMS[spec.get('transform') or 'none'](x)


def make_l2w_batch(
    case: str, index: int, batch: int, num_classes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Return images (batch, 3, 32, 32) and labels (batch,) of an L2W case."""
    images = fill_input(f'early_exit/{case}/images{index}', (batch, 3, 32, 32))
    scores = fill_input(f'early_exit/{case}/target{index}', (batch, num_classes))
    return images, scores.argmax(1)


def make_eval_table(
    tag: str, num_exits: int, num_samples: int, num_classes: int, quantise=None
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (E, N, C) and targets (N,) of a dynamic-evaluation case.

    ``tag`` is one of the case's ``input.tags``; exit k (from 0) gets
    ``1.5 * noise + 0.6 * (k + 1) * onehot(target)``, in float64, rounded to
    multiples of ``quantise`` if given, then cast to float32.
    """
    shape = (num_exits, num_samples, num_classes)
    target = fill_input(f'{tag}/target', shape[1:]).argmax(1)
    onehot = np.eye(num_classes)[target]
    lift = 0.6 * (np.arange(num_exits) + 1)
    logits = 1.5 * fill_input(f'{tag}/logits', shape).astype(np.float64)
    logits = logits + lift[:, None, None] * onehot
    if quantise:
        logits = np.round(logits / quantise) * quantise
    return logits.astype(np.float32), target


def load_case(path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return ``(meta, expected arrays)`` of the case at ``path`` (its JSON)."""
    path = Path(path)
    meta = json.loads(path.read_text())
    npz = path.with_suffix('.npz')
    arrays = {}
    if npz.exists():
        with np.load(npz) as data:
            arrays = {name: data[name] for name in data.files}
    return meta, arrays


def find_cases(folder) -> Iterator[Path]:
    """Yield every case's JSON below ``folder``, sorted by name."""
    yield from sorted(Path(folder).rglob('*.json'))
