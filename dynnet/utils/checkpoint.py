"""Checkpoints: opened without running code a file may hold, written whole or not."""

import io
import os
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner.checkpoint import get_torch_safe_globals
from torch import nn

from .atomic import write_atomic
from .errors import CheckpointError


def load_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Open a checkpoint with torch's safe loader.

    mmengine's own loader falls back to plain pickle, which runs whatever code a file
    asks for.

    Args:
        path: A checkpoint of mmengine's runner, or another with the key
            ``state_dict``.

    Returns:
        Its content, on the CPU.

    Raises:
        CheckpointError: There is no such file, or it is no such checkpoint, or it wants
            to run code.
    """
    if not Path(path).is_file():
        raise CheckpointError(f'checkpoint {path} does not exist')
    # mmengine's list without getattr, which gives access to everything; of that only
    # the references to HistoryBuffer's methods are needed.
    allowed = [item for item in get_torch_safe_globals() if item is not getattr]
    allowed.append((_history_buffer_method, 'builtins.getattr'))
    try:
        with torch.serialization.safe_globals(allowed):
            checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many kinds
        reason = str(error).strip().splitlines()[0] if str(error) else repr(error)
        raise CheckpointError(
            f'{path}: not a checkpoint that the safe loader opens '
            f'({type(error).__name__}: {reason})'
        ) from None
    if not isinstance(checkpoint, dict) or not isinstance(
        checkpoint.get('state_dict'), dict
    ):
        raise CheckpointError(f"{path}: not a checkpoint: it has no 'state_dict'")
    return checkpoint


def save_checkpoint(path: str | os.PathLike, content: dict[str, Any]) -> None:
    """Write a checkpoint; an existing file is replaced only by a complete one.

    Args:
        path: The file. Its folder is made when missing.
        content: What ``torch.save`` takes.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def load_weights(model: nn.Module, path: str | os.PathLike) -> dict[str, Any]:
    """Load a checkpoint's weights into a model; all of the model's must be there.

    Args:
        model: Gets the weights.
        path: The checkpoint. What it has beyond the model (the later exits, for a net
            that was cut) is told and left out.

    Returns:
        The checkpoint's ``meta``, or an empty dict.

    Raises:
        CheckpointError: It cannot be opened, or does not fit the model.
    """
    checkpoint = load_checkpoint(path)
    weights = {
        re.sub(r'^module\.', '', name): value
        for name, value in checkpoint['state_dict'].items()
    }
    try:
        missing, unused = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a wrong shape; one line for each
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(
            f'{path} does not fit the model: {lines[min(1, len(lines) - 1)]}'
        ) from None
    if missing:
        raise CheckpointError(
            f'{path} does not fit the model: it lacks {_some(missing)}'
        )
    if unused:
        print_log(f'{path}: not used are {_some(unused)}', logger='current')
    return checkpoint.get('meta') or {}


def _some(names: list[str]) -> str:
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + more


def _history_buffer_method(owner: Any, name: str) -> Any:
    """What may stand for ``getattr`` in a checkpoint: HistoryBuffer's own methods."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise ValueError(f'it asks for the attribute {name!r} of {owner!r}')
    return getattr(owner, name)
