"""Where a network with gates computed: overlays per stage and a heat map."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dynnet.models.gates import GateMeter, measure_gates
from dynnet.utils.errors import ConfigError


@dataclass
class MaskMaps:
    """Where one picture was computed.

    Attributes:
        stages: Name to (H, W) of [0, 1]: the share of the stage's blocks that computed
            each pixel.
        blocks: (H, W), how many blocks computed each pixel.
        num_blocks: Number of blocks.
        macs_ratio: MACs relative to computing everything.
    """

    stages: dict[str, np.ndarray]
    blocks: np.ndarray
    num_blocks: int
    macs_ratio: float


def mask_maps(
    meter: GateMeter, index: int, input_size: tuple[int, int], crop: tuple[int, int]
) -> MaskMaps:
    """Bring all blocks' masks to a picture's resolution.

    Args:
        meter: Of the forward pass.
        index: Which picture of the batch.
        input_size: (H, W) that the network saw, padding included.
        crop: (H, W) of the picture in its upper left corner.

    Returns:
        The maps, (H, W) as ``crop``.

    Raises:
        ConfigError: No gated block reported.
    """
    if not meter.records:
        raise ConfigError('the model has no gates: there are no masks to show')
    stages: dict[str, list[np.ndarray]] = {}
    for record in meter.records:
        mask = record.gate.mask[index : index + 1].amax(1, keepdim=True).float()
        full = F.interpolate(mask, size=input_size, mode='nearest')[0, 0]
        stage = record.name.split('.')[0]
        stages.setdefault(stage, []).append(full[: crop[0], : crop[1]].cpu().numpy())
    every = [mask for masks in stages.values() for mask in masks]
    ratio = float(meter.sample_macs[index]) / meter.dense_macs
    return MaskMaps(
        {name: np.mean(masks, 0) for name, masks in stages.items()},
        np.sum(every, 0),
        len(every),
        ratio,
    )


@torch.no_grad()
def picture_masks(model: nn.Module, picture: np.ndarray) -> MaskMaps:
    """Run the backbone of a classifier or detector on one picture.

    Args:
        model: With ``data_preprocessor`` and ``backbone``, in eval mode.
        picture: (H, W, 3) BGR or (H, W) grey, uint8, at the size that it is run at.

    Returns:
        The maps.

    Raises:
        ConfigError: The model has no gates.
    """
    array = picture[..., None] if picture.ndim == 2 else picture
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    data = model.data_preprocessor(dict(inputs=[tensor], data_samples=None), False)
    inputs = data['inputs']
    with measure_gates() as meter:
        model.backbone(inputs)
    return mask_maps(meter, 0, tuple(inputs.shape[2:]), picture.shape[:2])


def draw_masks(picture: np.ndarray, maps: MaskMaps) -> np.ndarray:
    """Draw a picture, what each stage computed of it, and the heat map, side by side.

    The fewer of a stage's blocks computed a patch, the darker it is. The heat map goes
    from blue (few blocks) to red (all).

    Args:
        picture: (H, W, 3) BGR or (H, W) grey, uint8.
        maps: Of that picture.

    Returns:
        (H + 20, W * (stages + 2) + gaps, 3) BGR, uint8; small pictures are enlarged.
    """
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = cv2.cvtColor(picture.reshape(picture.shape[:2]), cv2.COLOR_GRAY2BGR)
    factor = max(1, round(192 / min(picture.shape[:2])))
    tiles = [('picture', picture)]
    for name, share in maps.stages.items():
        tiles.append((f'{name} {100 * share.mean():.0f}%', _shade(picture, share)))
    heat = (255 * maps.blocks / maps.num_blocks).astype(np.uint8)
    heat = cv2.addWeighted(
        cv2.applyColorMap(heat, cv2.COLORMAP_JET), 0.6, picture, 0.4, 0
    )
    tiles.append((f'blocks, MACs {100 * maps.macs_ratio:.0f}%', heat))
    return np.hstack([_tile(title, image, factor) for title, image in tiles])


def _shade(picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    light = 0.2 + 0.8 * share[..., None]
    return np.clip(picture * light, 0, 255).astype(np.uint8)


def _tile(title: str, image: np.ndarray, factor: int) -> np.ndarray:
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=0)
    image = cv2.copyMakeBorder(
        image, 20, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255,) * 3
    )
    cv2.putText(image, title, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
    return image
