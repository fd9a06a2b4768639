"""Recognise videos with a network that looks at patches of their frames."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from torch import Tensor

from dynnet.models.exits import ExitThresholds
from dynnet.utils.errors import ConfigError, DataError
from dynnet.visualization.patch_path import FORMATS, WatchedClip, save_patch_path

from .early_exit_inferencer import describe
from .inference import ConfigLike, init_model, innermost_dataset, read_config, scope_of

VideoPath = str | os.PathLike
# Steps that need more than the video itself.
LEFT_OUT = ('LoadCueTruth',)
OPENERS = ('OpenVideo', 'DecordInit', 'OpenCVInit', 'PyAVInit')


class VideoInferencer:
    """Predict with an AdaFocus, straight from video files.

    Args:
        model: Config file or config of an :class:`AdaFocus` or :class:`AdaFocusTSM`.
        checkpoint: File with its weights; None for untrained ones.
        thresholds: For leaving early: one number per frame but the last; solved
            thresholds, or the path of their JSON file. None takes those of the
            config's ``model.test_cfg``; without any, every frame is read.
        budget: Mean cost per clip in MACs; picks the operating point of the thresholds.
        mode: 'execute', what is not needed is not computed; 'simulate', all is.
        device: Where to run; None for the GPU, if there is one.

    Raises:
        ConfigError: The config is no such network's, or its test pipeline does not
            begin with a video file.
        CheckpointError: The checkpoint cannot be opened or does not fit.

    Example:
        >>> inferencer = VideoInferencer('configs/adafocus/CONFIG.py', 'epoch_10.pth')
        >>> inferencer('skiing.mp4', show_dir='looked')
        [{'label': 3, 'class_name': 'skiing', 'score': 0.97, 'macs': 26504052736.0,
          'frames': 16, 'frame_scores': array([...]), 'corners': array([...]), ...}]
    """

    def __init__(
        self,
        model: ConfigLike,
        checkpoint: str | os.PathLike | None = None,
        thresholds: Sequence[float] | ExitThresholds | str | os.PathLike | None = None,
        budget: float | None = None,
        mode: str = 'execute',
        device: str | None = None,
    ) -> None:
        cfg = read_config(model)
        self.model = init_model(cfg, checkpoint, device)
        if not hasattr(self.model, 'patch_size'):
            raise ConfigError(
                f'{cfg.filename or "the config"} describes a '
                f'{type(self.model).__name__}, not an AdaFocus'
            )
        self.can_leave = hasattr(self.model, 'set_thresholds')
        if self.can_leave:
            self.model.mode = mode
        if thresholds is not None or budget is not None:
            if not self.can_leave:
                raise ConfigError(
                    f'{type(self.model).__name__} has one answer per clip: no '
                    'thresholds or budget'
                )
            self.model.set_thresholds(thresholds, budget)
        self.classes = self.model.dataset_meta.get('classes')
        self.device = next(self.model.parameters()).device
        self.steps = _build_steps(cfg)
        self.model.measure_costs()

    def __call__(
        self,
        inputs: VideoPath | Sequence[VideoPath],
        show_dir: str | os.PathLike | None = None,
        show_format: str = 'mp4',
    ) -> list[dict[str, Any]]:
        """Recognise videos, one after the other.

        Args:
            inputs: A path, or a list of them.
            show_dir: Folder for what the network looked at: for every video a file of
                the same name, with the patch, its way and the score on each frame.
            show_format: 'mp4', or 'png' for all frames in one picture.

        Returns:
            One dict per video:

            * ``label`` (int), ``class_name`` (str, or None where it is not known) and
              ``score``, the softmax probability of the label;
            * ``macs``, the multiply-accumulates that this clip took;
            * ``frames``, how many were read before the answer, and ``frame_inds``
              (frames,), which ones of the video;
            * ``corners`` (frames, 2), pixels (y, x) of the patches in the resized and
              cropped frame, and ``focused`` (frames,), where f_L looked;
            * ``frame_scores`` (frames,), the label's probability after each frame, or
              None for a network with one answer per clip;
            * ``ms``, the measured time of the network.

        Raises:
            DataError: A video cannot be read; it is named.
            ConfigError: Unknown ``show_format``, or two videos of one name to show.
        """
        if show_format not in FORMATS:
            raise ConfigError(
                f'show_format={show_format!r} must be one of {", ".join(FORMATS)}'
            )
        single = isinstance(inputs, (str, os.PathLike))
        paths = [Path(path) for path in ([inputs] if single else inputs)]
        names = [path.stem for path in paths]
        if show_dir is not None and len(set(names)) < len(names):
            raise ConfigError('show_dir needs videos of different names')
        results = []
        for path, name in zip(paths, names):
            frames, numbers = self._load(path)
            result = self._predict(frames, numbers)
            if show_dir is not None:
                target = Path(show_dir) / f'{name}.{show_format}'
                self._show(target, frames, numbers, result)
            results.append(result)
        return results

    def _load(self, path: Path) -> tuple[Tensor, np.ndarray]:
        """Frames (T, 3, H, W) uint8 as the pipeline packs them, and their indices."""
        if not path.is_file():
            raise DataError(f'video {path} does not exist')
        sample: dict = dict(filename=str(path), start_index=0, modality='RGB')
        for step in self.steps:
            if 'frame_inds' in sample:
                numbers = np.ravel(sample['frame_inds'])
            sample = step(sample)
        return sample['inputs'], numbers

    @torch.no_grad()
    def _predict(self, frames: Tensor, numbers: np.ndarray) -> dict[str, Any]:
        inputs = self.model.data_preprocessor(
            dict(inputs=[frames], data_samples=[None]), False
        )['inputs']
        begin = self._clock()
        (sample,) = self.model.predict(inputs)
        ms = (self._clock() - begin) * 1000
        result = describe(sample.pred_score.cpu().numpy(), self.classes)
        corners = sample.corners.cpu().numpy()
        focused, scores = np.ones(len(corners), bool), None
        if 'focused' in sample:
            focused = sample.focused.cpu().numpy()
        if 'frame_scores' in sample:
            scores = sample.frame_scores[:, result['label']].cpu().numpy()
        if 'cost' in sample:
            macs = float(sample.cost)
        else:
            macs = self.model.costs.total  # in simulate, everything was computed
        numbers = self._looked_at(numbers)[: len(corners)]
        return result | dict(
            macs=macs,
            frames=len(corners),
            frame_inds=numbers,
            corners=corners,
            focused=focused,
            frame_scores=scores,
            ms=ms,
        )

    def _looked_at(self, frames: Any) -> Any:
        """Those of the clip's frames that have a patch: with two groups, the focus."""
        return frames[getattr(self.model, 'num_glance', 0) :]

    def _show(
        self, path: Path, frames: Tensor, numbers: np.ndarray, result: dict[str, Any]
    ) -> None:
        title = result['class_name'] or str(result['label'])
        shown = self._looked_at(frames).permute(0, 2, 3, 1).contiguous().numpy()
        clip = WatchedClip(
            frames=shown,
            corners=result['corners'],
            patch_size=self.model.patch_size,
            focused=result['focused'],
            scores=result['frame_scores'],
            numbers=self._looked_at(numbers),
            title=title,
        )
        save_patch_path(clip, path)

    def _clock(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def _build_steps(cfg: Config) -> list:
    """The test pipeline without what needs a data set: caches, truth, labels."""
    name = cfg.filename or 'the config'
    steps = []
    for step in innermost_dataset(cfg).get('pipeline') or []:
        kind = step['type']
        kind = kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
        if kind in LEFT_OUT:
            continue
        step = dict(step)
        if kind == 'OpenVideo':
            step.pop('cache_dir', None)
        steps.append((kind, step))
    if not steps or steps[0][0] not in OPENERS:
        raise ConfigError(
            f'{name}: test_dataloader.dataset.pipeline must begin with one of '
            f'{", ".join(OPENERS)}'
        )
    with scope_of(cfg):
        return [TRANSFORMS.build(step) for _, step in steps]
