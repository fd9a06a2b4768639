"""From picture files and arrays to what a classifier's data preprocessor takes."""

import os
from collections.abc import Sequence

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from dynnet.utils.errors import ConfigError, DataError

from .inference import innermost_dataset, scope_of

Picture = str | os.PathLike | np.ndarray
LOADERS = ('LoadImageFromFile', 'LoadImageStrict')


class PicturePipeline:
    """A config's test pipeline for pictures that belong to no dataset.

    Files are loaded by the pipeline's own settings. Where the config's dataset delivers
    arrays (CIFAR, npz files), they get the dataset's form: grey for a net with one
    input channel, else RGB, or BGR if the data preprocessor swaps the channels.

    Args:
        cfg: The config; the pipeline is ``test_dataloader.dataset.pipeline``.
        in_channels: Input channels of the net.
        size: Height and width that pictures are resized to first, for a config whose
            pictures all have one size and whose pipeline has no resize. None: as they
            are.
        channel_order: Order of the channels of arrays, 'bgr' (as mmcv and OpenCV load
            them) or 'rgb'.

    Raises:
        ConfigError: The config has no test pipeline, or an argument is not possible.
    """

    def __init__(
        self,
        cfg: Config,
        in_channels: int = 3,
        size: Sequence[int] | None = None,
        channel_order: str = 'bgr',
    ) -> None:
        steps = list(innermost_dataset(cfg).get('pipeline') or [])
        if not steps:
            raise ConfigError(
                f'{cfg.filename or "the config"} has no '
                'test_dataloader.dataset.pipeline'
            )
        if channel_order not in ('bgr', 'rgb'):
            raise ConfigError(f"channel_order={channel_order!r}: choose 'bgr' or 'rgb'")
        own = next((dict(s) for s in steps if _name(s) in LOADERS), None)
        steps = [s for s in steps if _name(s) not in LOADERS]
        loader = own or dict(color_type='grayscale' if in_channels == 1 else 'color')
        if loader.get('color_type', 'color').startswith('gray'):
            self.wanted = 'grey'
        else:
            self.wanted = 'bgr' if own or _swaps_channels(cfg) else 'rgb'
        self.size = None if size is None else tuple(size)
        self.channel_order = channel_order
        with scope_of(cfg):
            self.load = TRANSFORMS.build(dict(loader, type='dynnet.LoadImageStrict'))
            self.steps = [TRANSFORMS.build(step) for step in steps]

    def __call__(self, picture: Picture) -> dict:
        """Prepare one picture.

        Args:
            picture: Path, or array (H, W), (H, W, 1) or (H, W, 3), uint8.

        Returns:
            ``inputs`` (C, H, W) and ``data_samples``, as the pipeline packs them.

        Raises:
            DataError: The file is missing or no whole picture, or the array is none.
        """
        sample = {}
        if isinstance(picture, (str, os.PathLike)):
            sample['img_path'] = os.fspath(picture)
            image, order = self.load(dict(sample))['img'], 'bgr'
        else:
            image, order = _check_array(picture), self.channel_order
        image = _convert(image, order, self.wanted)
        if self.size is not None:
            image = mmcv.imresize(image, self.size[::-1])
        shape = image.shape[:2]
        sample.update(img=image, img_shape=shape, ori_shape=shape)
        for step in self.steps:
            sample = step(sample)
        return sample


def _name(step: dict) -> str:
    kind = step['type']
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def _swaps_channels(cfg: Config) -> bool:
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    return bool((preprocessor or {}).get('to_rgb', False))


def _check_array(array: np.ndarray) -> np.ndarray:
    if (
        not isinstance(array, np.ndarray)
        or array.dtype != np.uint8
        or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)))
        or 0 in array.shape
    ):
        what = (
            f'{array.dtype} of shape {array.shape}'
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        raise DataError(
            f'a picture is a path or uint8 of shape (H, W) or (H, W, 3), not {what}'
        )
    return array


def _convert(image: np.ndarray, order: str, wanted: str) -> np.ndarray:
    """Bring the channels of an image into the wanted form: 'grey', 'bgr' or 'rgb'."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if wanted == 'grey':
        if image.ndim == 2:
            return image
        return mmcv.bgr2gray(image) if order == 'bgr' else mmcv.rgb2gray(image)
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return image if order == wanted else np.ascontiguousarray(image[..., ::-1])
