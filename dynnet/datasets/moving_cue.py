"""A made set whose truth is known: a small moving cue says the class.

In every clip a few discs move over a smooth background. Each disc carries stripes. One
of them, the reddish cue, carries the stripes that say the class (their direction); the
others, of other colours, carry stripes drawn at random. So the class is seen only
where the cue is, and the cue is found by its colour, without seeing the stripes.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dynnet.utils.errors import ConfigError

# Hue (degrees) of the cue, and the range of the others.
CUE_HUE, OTHER_HUES = 5, (80, 280)


@dataclass(frozen=True)
class MovingCue:
    """How the clips look.

    Attributes:
        size: Side of the square frames, in pixels.
        num_frames: Frames of a clip.
        num_classes: Number of stripe directions.
        cue_size: Diameter of the discs, in pixels.
        period: Period of the stripes, in pixels.
        num_distractors: Discs beside the cue.
        speed: Pixels per frame, at most, along each axis.
        noise: Standard deviation of the pixel noise, in grey levels.
    """

    size: int = 96
    num_frames: int = 24
    num_classes: int = 4
    cue_size: int = 20
    period: float = 4.0
    num_distractors: int = 3
    speed: float = 2.0
    noise: float = 4.0

    def __post_init__(self) -> None:
        if not 4 <= self.cue_size < self.size:
            raise ConfigError(
                f'cue_size={self.cue_size} must be from 4 to below size={self.size}'
            )
        if self.num_frames < 1 or self.num_classes < 2:
            raise ConfigError('a clip needs a frame and the set two classes')

    def make_clip(
        self, label: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make a clip.

        Args:
            label: Class of the clip.
            rng: Source of randomness.

        Returns:
            Frames (T, H, W, 3) uint8 RGB, and the centre (y, x) of the cue in each,
            (T, 2) float32 pixels.
        """
        background = self._background(rng)
        others = rng.integers(0, self.num_classes, self.num_distractors)
        discs = [self._disc(int(other), False, rng) for other in others]
        discs.append(self._disc(label, True, rng))  # the cue lies on top
        paths = [self._path(rng) for _ in discs]
        frames = np.stack(
            [
                self._draw(background, discs, [path[t] for path in paths], rng)
                for t in range(self.num_frames)
            ]
        )
        return frames, paths[-1].astype(np.float32)

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """Coarse coloured clouds (H, W, 3), float32."""
        coarse = rng.uniform(60, 190, (6, 6, 1)) + rng.uniform(-20, 20, (6, 6, 3))
        shape = (self.size, self.size)
        return cv2.resize(
            coarse.astype(np.float32), shape, interpolation=cv2.INTER_CUBIC
        )

    def _disc(
        self, label: int, is_cue: bool, rng: np.random.Generator
    ) -> tuple[float, float, np.ndarray]:
        """Direction and phase of the stripes, and the colour (3,)."""
        hue = CUE_HUE if is_cue else rng.uniform(*OTHER_HUES)
        hsv = np.array([[[hue + rng.uniform(-5, 5), 0.8, 230]]], np.float32)
        hsv[..., 0] %= 360
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
        angle = np.pi * label / self.num_classes
        return angle, rng.uniform(0, 2 * np.pi), colour

    def _path(self, rng: np.random.Generator) -> np.ndarray:
        """Centres (T, 2) of a disc that bounces off the borders."""
        low = self.cue_size / 2
        room = self.size - self.cue_size
        start = rng.uniform(0, room, 2)
        speed = rng.uniform(0.4, 1, 2) * self.speed * rng.choice([-1, 1], 2)
        free = start + speed * np.arange(self.num_frames)[:, None]
        folded = np.abs((free + room) % (2 * room) - room)
        return low + folded

    def _draw(
        self,
        background: np.ndarray,
        discs: list[tuple[float, float, np.ndarray]],
        centres: list[np.ndarray],
        rng: np.random.Generator,
    ) -> np.ndarray:
        frame = background.copy()
        radius = self.cue_size / 2
        reach = int(np.ceil(radius + 1))
        for (angle, phase, colour), (y, x) in zip(discs, centres):
            top, left = max(0, int(y) - reach), max(0, int(x) - reach)
            window = frame[top : int(y) + reach + 1, left : int(x) + reach + 1]
            rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
            dy, dx = rows + top - y, columns + left - x
            along = dx * np.cos(angle) + dy * np.sin(angle)
            stripes = 0.65 + 0.35 * np.sin(2 * np.pi * along / self.period + phase)
            cover = np.clip(radius - np.hypot(dy, dx) + 0.5, 0, 1)[..., None]
            window += (cover * (stripes[..., None] * colour - window)).astype('f4')
        frame += self.noise * rng.standard_normal(frame.shape, np.float32)
        return frame.clip(0, 255).astype(np.uint8)
