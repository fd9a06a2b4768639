"""Run exported exits with onnxruntime, and stop at the one a picture leaves at.

This file needs numpy and onnxruntime only and can be copied beside an export.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 'dynnet-onnx-exits'
VERSION = 1
MANIFEST = 'manifest.json'


class OnnxEarlyExit:
    """An early-exit classifier from the files that ``export_exits`` wrote.

    A graph runs only for pictures that did not leave before.

    Args:
        folder: Folder with ``manifest.json`` and the graphs.
        thresholds: One per exit but the last, +inf or None where nobody leaves; None
            takes those of the manifest.
        providers: onnxruntime's execution providers.
        num_threads: Threads of one graph; None leaves it to onnxruntime.

    Attributes:
        num_exits (int): Number of exits E.
        classes (list[str] | None): Names of the classes, where they are known.
        exit_macs (list[float]): Multiply-accumulates up to each exit.
        input_shape (tuple[int]): (C, H, W) of a picture.

    Raises:
        FileNotFoundError: There is no manifest in the folder.
        ValueError: The manifest is another file's, or the thresholds are missing or do
            not fit.
        ImportError: onnxruntime is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        thresholds: Sequence[float | None] | None = None,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        num_threads: int | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(
                'running ONNX graphs needs onnxruntime: pip install onnxruntime'
            ) from None
        manifest = _read_manifest(Path(folder) / MANIFEST)
        self.segments: list[dict[str, Any]] = manifest['segments']
        self.num_exits = len(self.segments)
        self.classes = manifest['classes']
        self.exit_macs = manifest['exit_macs']
        self.input_shape = tuple(manifest['input_shape'])
        self.num_classes = manifest['num_classes']
        self.dynamic_batch = manifest['dynamic_batch']
        self.thresholds = _check_thresholds(
            manifest['thresholds'] if thresholds is None else thresholds, self.num_exits
        )
        options = onnxruntime.SessionOptions()
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.sessions = [
            onnxruntime.InferenceSession(
                str(Path(folder) / segment['file']), options, providers=list(providers)
            )
            for segment in self.segments
        ]

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classify pictures.

        Args:
            x: Pictures (N, C, H, W) as the data preprocessor leaves them, float32.

        Returns:
            Logits (N, classes) of the exit where each picture left, and that exit (N,),
            int64, from 0.

        Raises:
            ValueError: The pictures have another shape than the export.
        """
        x = np.ascontiguousarray(x, dtype=np.float32)
        if x.shape[1:] != self.input_shape:
            raise ValueError(
                f'pictures of shape {x.shape[1:]}, but the graphs were exported for '
                f'{self.input_shape}'
            )
        step = max(len(x), 1) if self.dynamic_batch else 1
        logits = np.empty((len(x), self.num_classes), np.float32)
        exits = np.empty(len(x), np.int64)
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            self._run(x[part], logits[part], exits[part])
        return logits, exits

    def _run(self, x: np.ndarray, logits: np.ndarray, exits: np.ndarray) -> None:
        """Fill ``logits`` and ``exits`` for a batch."""
        rows = np.arange(len(x))
        values = {'x': self._value(x)}
        for k, (segment, session) in enumerate(zip(self.segments, self.sessions)):
            names = segment['outputs']
            feed = {name: values[name] for name in segment['inputs']}
            outputs = session.run_with_ort_values(names, feed)
            values.update(zip(names, outputs))
            leave = np.ones(len(rows), bool)
            if k < self.num_exits - 1:
                leave = values['score'].numpy() >= self.thresholds[k]
            logits[rows[leave]] = values['logits'].numpy()[leave]
            exits[rows[leave]] = k
            if leave.all():
                return
            later = {n for s in self.segments[k + 1 :] for n in s['inputs']}
            values = {n: v for n, v in values.items() if n in later}
            if leave.any():
                rows = rows[~leave]
                values = {n: self._value(v.numpy()[~leave]) for n, v in values.items()}


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist')
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path}: not a JSON file: {error}') from None
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        raise ValueError(f'{path}: not an export of exits (format {FORMAT!r})')
    if manifest.get('version') != VERSION:
        raise ValueError(
            f'{path}: version {manifest.get("version")!r}, this code reads {VERSION}'
        )
    return manifest


def _check_thresholds(
    thresholds: Sequence[float | None] | None, num_exits: int
) -> np.ndarray:
    """Thresholds (E - 1,) in the scores' precision, where they are compared."""
    if thresholds is None:
        raise ValueError('the export has no thresholds: give some')
    limits = np.array([np.inf if t is None else t for t in thresholds], np.float32)
    if limits.shape != (num_exits - 1,) or np.isnan(limits).any():
        raise ValueError(
            f'{num_exits} exits need {num_exits - 1} thresholds and no NaN, got '
            f'{list(thresholds)}'
        )
    return limits
