"""Rotated boxes of picture files, without a dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from dynnet.registry import TRANSFORMS
from dynnet.utils.errors import ConfigError

from .inference import ConfigLike, init_model, innermost_dataset, scope_of

# What needs annotations, which files that belong to no dataset lack.
_SKIPPED = ('LoadAnnotations', 'ConvertBoxType')


@dataclass
class RotatedDetections:
    """What was found in one picture, best first.

    Attributes:
        corners: (N, 4, 2) in the picture's own pixels.
        labels: Class indices (N,).
        scores: (N,) in [0, 1].
        class_names: One name a box.
    """

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    class_names: list[str]


class RotatedInferencer:
    """A rotated detector of mmrotate from a config and a checkpoint.

    Args:
        config: Config file or config.
        checkpoint: Its weights.
        device: Where it runs; None for the GPU, if there is one.
        score_thr: Boxes of a lower score are left out.

    Raises:
        ConfigError: The config has no test pipeline, or its model no box heads.
        DataError: A picture is missing or damaged.

    Example:
        >>> detect = RotatedInferencer('CONFIG.py', 'CHECKPOINT.pth')
        >>> for found in detect(['a.png'], show_dir='shown'):
        ...     print(found.class_names, found.scores)
    """

    def __init__(
        self,
        config: ConfigLike,
        checkpoint: str | os.PathLike | None,
        device: str | None = None,
        score_thr: float = 0.3,
    ) -> None:
        self.model = init_model(config, checkpoint, device)
        self.score_thr = score_thr
        cfg = self.model.cfg
        steps = list(innermost_dataset(cfg).get('pipeline') or [])
        if not steps:
            raise ConfigError('the config has no test_dataloader.dataset.pipeline')
        with scope_of(cfg):
            self.steps = []
            for step in steps:
                name = step['type'].rpartition('.')[2]
                if name.startswith('LoadImage'):
                    step = dict(type='dynnet.LoadImageStrict')
                if name not in _SKIPPED:
                    self.steps.append(TRANSFORMS.build(step))
        self.classes = self.model.dataset_meta.get('classes')

    @torch.no_grad()
    def __call__(
        self,
        pictures: Sequence[str | os.PathLike],
        show_dir: str | os.PathLike | None = None,
    ) -> list[RotatedDetections]:
        """Detect in every picture.

        Args:
            pictures: Files.
            show_dir: Folder for copies of the pictures with boxes drawn.

        Returns:
            One entry a picture.
        """
        results = []
        for number, picture in enumerate(pictures):
            path = os.fspath(picture)
            sample = dict(img_path=path, img_id=number)
            for step in self.steps:
                sample = step(sample)
            batch = dict(
                inputs=[sample['inputs']], data_samples=[sample['data_samples']]
            )
            found = self._read(self.model.test_step(batch)[0].pred_instances)
            results.append(found)
            if show_dir is not None:
                draw_boxes(path, found, Path(show_dir) / Path(path).name)
        return results

    def _read(self, instances) -> RotatedDetections:
        from mmrotate.structures import rbox2qbox

        boxes, scores = instances.bboxes, instances.scores
        boxes = getattr(boxes, 'tensor', boxes)
        keep = scores >= self.score_thr
        order = scores[keep].argsort(descending=True)
        boxes, scores = boxes[keep][order], scores[keep][order]
        labels = instances.labels[keep][order].cpu().numpy()
        corners = boxes if boxes.shape[-1] == 8 else rbox2qbox(boxes)
        return RotatedDetections(
            corners.view(-1, 4, 2).cpu().numpy(),
            labels,
            scores.cpu().numpy(),
            [self.classes[i] if self.classes else str(i) for i in labels],
        )


def draw_boxes(
    picture: str, found: RotatedDetections, path: Path, colour=(0, 165, 255)
) -> None:
    """Write a copy of a picture with boxes, classes and scores."""
    image = cv2.imread(picture)
    for corners, name, score in zip(found.corners, found.class_names, found.scores):
        outline = corners.round().astype(np.int32)
        cv2.polylines(image, [outline], True, colour, 1, cv2.LINE_AA)
        place = tuple(int(v) for v in outline[outline[:, 1].argmin()])
        text = f'{name} {score:.2f}'
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
