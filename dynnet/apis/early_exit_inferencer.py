"""Classify pictures, easy ones at an early exit."""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dynnet.models.exits import ExitThresholds
from dynnet.utils.errors import ConfigError, DataError

from .inference import ConfigLike, init_model, read_config
from .pictures import Picture, PicturePipeline


class EarlyExitInferencer:
    """Predict with an early-exit classifier.

    Thresholds come from the argument, else from the config's ``model.test_cfg``, else
    from the checkpoint (``tools/model_converters/embed_thresholds.py``), else from the
    criterion itself (patience).

    Args:
        model: Config file or config of a :class:`MultiExitClassifier`.
        checkpoint: File with its weights; None for untrained ones.
        thresholds: One number per exit but the last; solved thresholds, or the path of
            their JSON file.
        budget: Mean cost per picture, in the unit of the solved thresholds; picks the
            operating point.
        mode: 'execute', pictures really leave early; 'simulate', all exits are run;
            'exit=k', everybody leaves at exit k (from 1).
        device: Where to run; None for the GPU, if there is one.
        size: Height and width that pictures are resized to first. For configs whose
            pictures all have one size and whose test pipeline has no resize (CIFAR).
        channel_order: Order of the channels of arrays, 'bgr' (as mmcv and OpenCV load
            them) or 'rgb'.

    Raises:
        ConfigError: The config is no such classifier's, or the thresholds that the mode
            needs are not there.
        CheckpointError: The checkpoint cannot be opened or does not fit.
        ValueError: Thresholds that do not fit the net, or a budget that none of them
            meets.

    Example:
        >>> inferencer = EarlyExitInferencer(
        ...     'configs/ranet/CONFIG.py', 'epoch_300.pth', 'thresholds.json', 20e6)
        >>> inferencer('cat.png')
        [{'label': 3, 'class_name': 'cat', 'score': 0.97, 'exit': 1,
          'macs': 15412224.0, 'ms': 2.1}]
    """

    def __init__(
        self,
        model: ConfigLike,
        checkpoint: str | os.PathLike | None = None,
        thresholds: Sequence[float] | ExitThresholds | str | os.PathLike | None = None,
        budget: float | None = None,
        mode: str = 'execute',
        device: str | None = None,
        size: Sequence[int] | None = None,
        channel_order: str = 'bgr',
    ) -> None:
        cfg = read_config(model)
        test_cfg = (cfg.get('model') or {}).get('test_cfg') or {}
        configured = test_cfg.pop('thresholds', None), test_cfg.pop('budget', None)
        self.model = init_model(cfg, checkpoint, device)
        if not hasattr(self.model, 'set_thresholds'):
            raise ConfigError(
                f'{cfg.filename or "the config"} describes a '
                f'{type(self.model).__name__}, not a MultiExitClassifier'
            )
        self.model.mode = mode
        self._set_thresholds(thresholds, budget, configured, checkpoint)
        self.classes = self.model.dataset_meta.get('classes')
        self.device = next(self.model.parameters()).device
        self.pipeline = PicturePipeline(
            cfg, input_channels(self.model), size, channel_order
        )

    def _set_thresholds(
        self,
        thresholds: Any,
        budget: float | None,
        configured: tuple,
        checkpoint: str | os.PathLike | None,
    ) -> None:
        model = self.model
        if model.mode.startswith('exit='):
            if thresholds is not None or budget is not None:
                raise ConfigError(f'mode={model.mode!r} uses no thresholds or budget')
            return
        if thresholds is None:
            thresholds = configured[0]
            budget = configured[1] if budget is None else budget
        embedded = model.checkpoint_meta.get('exit_thresholds')
        if thresholds is None and embedded is not None:
            thresholds = ExitThresholds.from_dict(embedded, source=str(checkpoint))
            if (
                model.mode == 'simulate'
                and budget is None
                and len(thresholds.points) > 1
            ):
                thresholds = None  # nobody asked for one: the last exit answers
        if budget is not None and isinstance(thresholds, (list, tuple)):
            raise ConfigError(
                'a budget chooses among solved thresholds: give their JSON file, not '
                'a list'
            )
        model.set_thresholds(thresholds, budget)
        if model.mode == 'execute' and model.thresholds is None:
            raise ConfigError(
                "mode='execute' needs thresholds and the checkpoint has none: give a "
                'list or the file of tools/test.py --save-thresholds, or choose '
                "mode='simulate' or 'exit=k'"
            )

    def __call__(
        self, inputs: Picture | Sequence[Picture], batch_size: int = 1
    ) -> list[dict[str, Any]]:
        """Classify pictures.

        Args:
            inputs: A path, an array (H, W) or (H, W, 3) of uint8, or a list of them.
            batch_size: Pictures that run together; they need one size.

        Returns:
            One dict per picture:

            * ``label`` (int), ``class_name`` (str, or None where it is not known) and
              ``score``, the softmax probability of the label;
            * ``exit``, from 1;
            * ``macs``, the multiply-accumulates up to that exit (in ``simulate`` the
              later exits are run all the same);
            * ``ms``, the measured time of the network for its batch, per picture.

        Raises:
            DataError: A picture cannot be read; it is named. Or the pictures of a batch
                differ in size.
        """
        pictures = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if batch_size < 1:
            raise ConfigError(f'batch_size={batch_size}: at least 1')
        results = []
        for start in range(0, len(pictures), batch_size):
            batch = [self.pipeline(p) for p in pictures[start : start + batch_size]]
            results.extend(self._predict(batch))
        return results

    @torch.no_grad()
    def _predict(self, batch: list[dict]) -> list[dict[str, Any]]:
        inputs = collate(self.model.data_preprocessor, batch)
        shape = tuple(inputs.shape[1:])
        if self.model.costs is None or self.model.costs.input_shape != shape:
            self.model.measure_costs(shape)
            self.model.predict(inputs)  # the first run at a size is slow: not timed
        begin = self._clock()
        samples = self.model.predict(inputs)
        ms = (self._clock() - begin) * 1000 / len(inputs)
        results = []
        for sample in samples:
            exit_index = int(sample.exit_index)
            cost = sample.get('cost')
            macs = self.model.exit_costs[exit_index] if cost is None else float(cost)
            results.append(
                describe(sample.pred_score.cpu().numpy(), self.classes)
                | dict(exit=exit_index + 1, macs=macs, ms=ms)
            )
        return results

    def _clock(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def input_channels(model: nn.Module) -> int:
    """Channels of the picture that a convolutional net takes."""
    convs = (m for m in model.backbone.modules() if isinstance(m, nn.Conv2d))
    first = next(convs, None)
    return 3 if first is None else first.in_channels


def collate(data_preprocessor: nn.Module, batch: list[dict]) -> Tensor:
    """Turn packed pictures into what the net takes.

    Args:
        data_preprocessor: The model's.
        batch: What a :class:`PicturePipeline` gave for every picture.

    Returns:
        Pictures (N, C, H, W), float32.

    Raises:
        DataError: The pictures differ in size.
    """
    sizes = sorted({tuple(packed['inputs'].shape[-2:]) for packed in batch})
    if len(sizes) > 1:
        raise DataError(
            f'the pictures of one batch differ in size ({sizes[0]} and {sizes[1]}): '
            'use batch_size=1 or resize them'
        )
    data = dict(
        inputs=[packed['inputs'] for packed in batch],
        data_samples=[packed['data_samples'] for packed in batch],
    )
    return data_preprocessor(data, False)['inputs']


def describe(probs: np.ndarray, classes: Sequence[str] | None) -> dict[str, Any]:
    """Say what probabilities (C,) mean: ``label``, ``class_name``, ``score``."""
    label = int(probs.argmax())
    name = classes[label] if classes is not None and label < len(classes) else None
    return dict(label=label, class_name=name, score=float(probs[label]))
