"""AdaFocus for trimmed video: temporal shift, one patch for the whole clip."""

import torch
import torch.nn.functional as F
from mmaction.structures import ActionDataSample
from torch import Tensor, nn

from dynnet.ops.patches import patch_corners, random_corners
from dynnet.registry import MODELS
from dynnet.utils.clip_cost import ClipCosts, count_two_stream_costs
from dynnet.utils.errors import ConfigError

from ..heads.sequence_head import FrameMeanHead
from ..policies.rewards import confidence_reward
from ..policies.rollout import Rollout
from .patch_recognizer import PatchRecognizer

# Frames for the glance (N, Tg, 3, H, W) and for the focus (N, Tf, 3, H, W).
Streams = tuple[Tensor, Tensor]


@MODELS.register_module()
class AdaFocusTSM(PatchRecognizer):
    """AdaFocus with temporal shift (Something-Something V1 and V2).

    Two groups of frames of a clip are sampled independently. f_G (MobileNetV2 with
    temporal shift) sees the first; the policy looks at its maps once and picks one
    place; f_L (ResNet-50 with temporal shift) sees the patch there in every frame of
    the second group. The prediction is the sum of both encoders' mean logits.

    Inputs are a dict with ``imgs_glance`` (N, Tg, 3, H, W) and ``imgs_focus``
    (N, Tf, 3, H, W), or one tensor (N, Tg + Tf, 3, H, W), the glance's frames first.

    A clip has one patch and one answer: nothing is left early, and both test-time modes
    of the other form are one here.

    Args:
        num_glance: Frames of the glance Tg.
        num_focus: Frames of the focus Tf.
        **kwargs: See :class:`PatchRecognizer`; the heads are ``FrameMeanHead``.

    Raises:
        ConfigError: A policy with a gate, or encoders of other segment counts.
    """

    def __init__(
        self, *args, num_glance: int = 8, num_focus: int = 12, **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        self.num_glance, self.num_focus = num_glance, num_focus
        if self.test_cfg:
            raise ConfigError(f'unknown keys in test_cfg: {sorted(self.test_cfg)}')
        if self.policy.gate is not None:
            raise ConfigError(
                'AdaFocusTSM looks at one patch per clip: there is no frame to skip '
                '(policy.with_gate)'
            )
        for name in ('cls_head', 'global_head'):
            head = getattr(self, name)
            if not isinstance(head, FrameMeanHead):
                raise ConfigError(
                    f'model.{name} must be a dynnet.FrameMeanHead, not '
                    f'{type(head).__name__}'
                )
        for name, number in (('global_backbone', num_glance), ('backbone', num_focus)):
            segments = getattr(getattr(self, name), 'num_segments', number)
            if segments != number:
                raise ConfigError(
                    f'model.{name}.num_segments={segments}, but it gets {number} frames'
                )
        self.costs: ClipCosts | None = None

    def measure_costs(self, input_shape: tuple[int, ...] | None = None) -> ClipCosts:
        """Count the MACs of a clip, part by part; frames are (..., H, W)."""
        size = self.frame_size if input_shape is None else input_shape[-1]
        self.costs = count_two_stream_costs(self, size, self.num_glance, self.num_focus)
        return self.costs

    def prepare(self, inputs: Tensor | dict[str, Tensor]) -> Streams:
        """Split the frames into glance and focus.

        Raises:
            ConfigError: Frames of another number or size.
        """
        if isinstance(inputs, Tensor):
            if inputs.ndim != 5 or inputs.size(1) != self.num_glance + self.num_focus:
                raise ConfigError(
                    f'AdaFocusTSM takes {self.num_glance} + {self.num_focus} frames '
                    f'(N, T, 3, H, W), got {tuple(inputs.shape)}'
                )
            streams = inputs.split([self.num_glance, self.num_focus], 1)
        else:
            missing = {'imgs_glance', 'imgs_focus'} - set(inputs)
            if missing:
                raise ConfigError(f'the inputs lack {sorted(missing)}')
            streams = inputs['imgs_glance'], inputs['imgs_focus']
        numbers = (self.num_glance, self.num_focus)
        for name, stream, number in zip(('glance', 'focus'), streams, numbers):
            expected = (number, 3, self.frame_size, self.frame_size)
            if tuple(stream.shape[1:]) != expected:
                raise ConfigError(
                    f'frames of the {name} must have shape (N, {number}, 3, '
                    f'{self.frame_size}, {self.frame_size}), got {tuple(stream.shape)}'
                )
        return tuple(streams)

    def _encode(self, encoder: nn.Module, frames: Tensor) -> Tensor:
        # Temporal shift needs whole clips: never cut into parts.
        maps = encoder(frames.contiguous())
        return maps if isinstance(maps, Tensor) else maps[-1]

    # Running the network ----------------------------------------------------

    def _forward(self, inputs: Tensor | dict[str, Tensor], **kwargs) -> Tensor:
        """Logits (N, C)."""
        return self.run(self.prepare(inputs))[0]

    def run(self, streams: Streams) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and corners (N, 2) of the patches."""
        maps = self.glance(streams)
        output = self.run_policy(self.states(maps))
        places = self.policy.places(self.policy.greedy(output))[0]
        corners = self.to_corners(places)
        return self.global_logits(maps) + self.local_logits(streams, corners), corners

    def glance(self, streams: Streams) -> Tensor:
        """f_G's maps (N, Tg, C, h, w)."""
        frames = streams[0]
        return self.encode_global(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def states(self, maps: Tensor) -> Tensor:
        """The policy's only state (1, N, Tg * C, h, w): all maps, frame by frame."""
        return maps.flatten(1, 2)[None]

    def to_corners(self, places: Tensor) -> Tensor:
        """Pixels (N, 2) of places (N, 2)."""
        return patch_corners(places, self.frame_size, self.patch_size)

    def random_corners(self, number: int, device: torch.device) -> Tensor:
        """One random corner per clip (N, 2)."""
        return random_corners((number,), self.frame_size, self.patch_size, device)

    def global_logits(self, maps: Tensor) -> Tensor:
        """Mean logits (N, C) of the glance."""
        return self.global_head(maps.mean((3, 4)))

    def local_feats(self, streams: Streams, corners: Tensor) -> Tensor:
        """f_L's features (N, Tf, C): the same patch of every frame."""
        frames = streams[1]
        n, t = frames.shape[:2]
        repeated = corners.repeat_interleave(t, 0)
        return self.look(frames.flatten(0, 1), repeated).view(n, t, -1)

    def local_logits(self, streams: Streams, corners: Tensor) -> Tensor:
        """Mean logits (N, C) of the patches."""
        return self.cls_head(self.local_feats(streams, corners))

    # Training ---------------------------------------------------------------

    def loss_glance(self, streams: Streams, labels: Tensor) -> dict[str, Tensor]:
        """Stage 0, f_G alone."""
        logits = self.global_logits(self.glance(streams))
        return dict(loss_cls=F.cross_entropy(logits, labels))

    def loss_focus(self, streams: Streams, labels: Tensor) -> dict[str, Tensor]:
        """Stage 0, f_L alone, on whole frames."""
        frames = streams[1]
        feats = self.encode_local(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return dict(loss_cls=F.cross_entropy(self.local_head(feats), labels))

    def loss_random(
        self, streams: Streams, labels: Tensor, corners: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stage 1: f_L and its classifier on a random patch per clip.

        Args:
            streams: The frames.
            labels: Shape (N,).
            corners: Given corners (N, 2) instead of random ones.
        """
        if corners is None:
            corners = self.random_corners(len(labels), labels.device)
        with torch.no_grad():
            glance = self.global_logits(self.glance(streams))
        return self._classify(glance + self.local_logits(streams, corners), labels)

    def loss_finetune(
        self, streams: Streams, labels: Tensor, corners: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stage 3: the classifier (and f_L) on the patch that the policy picks.

        Args:
            streams: The frames.
            labels: Shape (N,).
            corners: Given corners (N, 2) instead of the policy's.
        """
        train_local = next(self.backbone.parameters()).requires_grad
        with torch.no_grad():
            maps = self.glance(streams)
            if corners is None:
                output = self.run_policy(self.states(maps))
                corners = self.to_corners(
                    self.policy.places(self.policy.greedy(output))[0]
                )
            glance = self.global_logits(maps)
        with torch.set_grad_enabled(train_local):
            feats = self.local_feats(streams, corners)
        return self._classify(glance + self.cls_head(feats), labels)

    def _classify(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        right = logits.argmax(-1) == labels
        return dict(loss_cls=F.cross_entropy(logits, labels), top1=right.float().mean())

    def rollout(
        self,
        streams: Streams,
        labels: Tensor,
        actions: Tensor | None = None,
        corners: Tensor | None = None,
    ) -> Rollout:
        """Let the policy act on a batch and collect the rewards: one step (stage 2).

        Args:
            streams: The frames.
            labels: Shape (N,).
            actions: Given actions (1, N, ...) instead of drawn ones.
            corners: Given corners (1, N, 2) of the random patches.

        Returns:
            The buffer, T = 1.
        """
        with torch.no_grad():
            maps = self.glance(streams)
            states = self.states(maps)
        output = self.run_policy(states)
        with torch.no_grad():
            if actions is None:
                actions = self.policy.sample(output)
            chosen = self.to_corners(self.policy.places(actions)[0])
            glance = self.global_logits(maps)
            logits = glance + self.local_logits(streams, chosen)
            baseline = None
            if self.reward == 'random':
                if corners is None:
                    corners = self.random_corners(len(labels), labels.device)[None]
                baseline = (glance + self.local_logits(streams, corners[0]))[None]
            rewards = confidence_reward(logits[None], labels, baseline, self.reward)
        return Rollout(
            states,
            actions,
            self.action_log_probs(output, actions, None).detach(),
            rewards,
            chosen[None],
            logits[None],
            baseline,
            output=output,
        )

    def loss_end_to_end(self, streams: Streams, labels: Tensor) -> dict[str, Tensor]:
        """Not built for this form."""
        raise ConfigError("train_cfg.stage='end_to_end' is there for AdaFocus alone")

    def predict(
        self,
        inputs: Tensor | dict[str, Tensor],
        data_samples: list | None = None,
        **kwargs,
    ) -> list:
        """Predict.

        Returns:
            One sample each with ``pred_score`` (C,), ``pred_label`` (1,) and
            ``corners`` (Tf, 2), the patch of every frame of the focus, and ``cost``
            (1,) in MACs.
        """
        streams = self.prepare(inputs)
        if data_samples is None:
            data_samples = [ActionDataSample() for _ in range(len(streams[0]))]
        if self.costs is None:
            self.measure_costs()
        logits, corners = self.run(streams)
        scores = logits.float().softmax(-1)
        for i, sample in enumerate(data_samples):
            sample.set_pred_score(scores[i]).set_pred_label(scores[i].argmax())
            repeated = corners[i].expand(self.num_focus, 2)
            sample.set_field(repeated, 'corners', dtype=Tensor)
            cost = torch.tensor([self.costs.total], dtype=torch.float64)
            sample.set_field(cost, 'cost', dtype=Tensor)
        return data_samples
