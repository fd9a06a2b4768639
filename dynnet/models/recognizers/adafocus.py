"""AdaFocus for untrimmed video: a patch per frame, two recurrent networks."""

from dataclasses import dataclass

import torch
from mmaction.structures import ActionDataSample
from torch import Tensor

from dynnet.ops.patches import patch_corners
from dynnet.registry import MODELS
from dynnet.utils.clip_cost import ClipCosts, count_clip_costs
from dynnet.utils.errors import ConfigError

from ..exits import ThresholdsMixin, assign_exits, build_criterion
from ..heads.sequence_head import SequenceHead
from .adafocus_training import AdaFocusTraining

# Memory of the policy (N, D) and of the classifier (N, S), between frames.
State = tuple[Tensor, Tensor]


@dataclass
class Frames:
    """What the network made of T frames of N clips.

    Attributes:
        logits: After each frame (N, T, C).
        corners: Pixels (y, x) of the patches (N, T, 2).
        focused: Whether the frame was looked at closely (N, T), bool.
        actor: Probabilities of the places, or their means (N, T, ...).
        feats: What the classifier read (N, T, D).
        state: The memories after the last frame.
    """

    logits: Tensor
    corners: Tensor
    focused: Tensor
    actor: Tensor
    feats: Tensor
    state: State


@MODELS.register_module()
class AdaFocus(ThresholdsMixin, AdaFocusTraining):
    """AdaFocus, the recurrent form (ActivityNet, FCVID, Mini-Kinetics).

    Wang et al., *Adaptive Focus for Efficient Video Recognition*, ICCV 2021
    (arXiv:2105.03245). f_G sees every frame; a recurrent policy picks a patch of it;
    f_L sees that patch at full resolution; a recurrent classifier reads both features.
    Everything is causal: after each frame there is an answer.

    Test-time modes (``test_cfg.mode``):

    * ``simulate``: all frames of all clips are computed, batch-parallel, then it is
      decided which clip would have left at which frame. Gives every frame's scores.
    * ``execute``: clips leave at the first frame whose score reaches its threshold;
      later frames are computed for those alone that stay. Without thresholds all
      frames are computed. Where the policy has a gate, f_L is run only on frames whose
      gate opens.

    Args:
        num_segments: Frames per clip T; they are the exits.
        with_global_feature: Whether the classifier reads f_G's feature besides f_L's.
        criterion: Exit criterion; MaxLogit as published with AdaFocusV2, or MaxSoftmax,
            Entropy, ...
        test_cfg: ``mode``; ``thresholds`` and ``budget`` as in a
            ``MultiExitClassifier``; ``gate_threshold``, from which gate probability on
            a frame is looked at (0.5); ``frames_per_step``, frames that execute takes
            at a time (1): more are faster per frame but may be too many.
        **kwargs: See :class:`~.patch_recognizer.PatchRecognizer`.
    """

    def __init__(
        self,
        *args,
        num_segments: int = 16,
        with_global_feature: bool = True,
        criterion: dict | None = None,
        test_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, test_cfg=test_cfg, **kwargs)
        if not isinstance(self.cls_head, SequenceHead):
            raise ConfigError(
                'model.cls_head must be a SequenceHead such as dynnet.RecurrentHead, '
                f'not {type(self.cls_head).__name__}'
            )
        self.num_segments = num_segments
        self.with_global_feature = with_global_feature
        self.criterion = build_criterion(criterion or dict(type='MaxLogit'))
        self.thresholds = None
        self.costs: ClipCosts | None = None
        test_cfg = dict(test_cfg or {})
        self.mode = test_cfg.pop('mode', 'simulate')
        self.gate_threshold: float = test_cfg.pop('gate_threshold', 0.5)
        self.frames_per_step: int = test_cfg.pop('frames_per_step', 1)
        self.set_thresholds(
            test_cfg.pop('thresholds', None), test_cfg.pop('budget', None)
        )
        if test_cfg:
            raise ConfigError(f'unknown keys in test_cfg: {sorted(test_cfg)}')

    @property
    def num_exits(self) -> int:
        """Number of exits: one after each frame."""
        return self.num_segments

    @property
    def mode(self) -> str:
        """Test-time mode: 'simulate' or 'execute'."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in ('simulate', 'execute'):
            raise ConfigError(f"mode={mode!r}: choose 'simulate' or 'execute'")
        self._mode = mode

    @property
    def exit_costs(self) -> list[float] | None:
        """MACs up to each frame; None before :meth:`measure_costs`."""
        return None if self.costs is None else self.costs.macs

    def measure_costs(self, input_shape: tuple[int, ...] | None = None) -> ClipCosts:
        """Count the MACs of a clip, part by part.

        Args:
            input_shape: (..., H, W) of the frames; None takes ``frame_size``.
        """
        size = self.frame_size if input_shape is None else input_shape[-1]
        self.costs = count_clip_costs(self, size, self.num_segments)
        return self.costs

    def prepare(self, inputs: Tensor) -> Tensor:
        """Check frames (N, T, 3, H, W).

        Raises:
            ConfigError: Another shape, or another size than ``frame_size``.
        """
        if inputs.ndim != 5 or inputs.size(2) != 3:
            raise ConfigError(
                'AdaFocus takes frames of shape (N, T, 3, H, W), got '
                f"{tuple(inputs.shape)}: use FormatShape(input_format='NCHW')"
            )
        if inputs.shape[-2:] != (self.frame_size, self.frame_size):
            raise ConfigError(
                f'model.frame_size={self.frame_size}, but the frames are '
                f'{inputs.size(-2)}x{inputs.size(-1)}'
            )
        return inputs

    # Running the network ----------------------------------------------------

    def _forward(self, inputs: Tensor, **kwargs) -> Tensor:
        """Logits (N, T, C) after each frame."""
        return self.run(self.prepare(inputs)).logits

    def run(
        self,
        frames: Tensor,
        state: State | None = None,
        corners: Tensor | None = None,
        skip: bool = False,
    ) -> Frames:
        """Read T frames: offline all of a clip, online those that have come.

        All of them go through each encoder at once.

        Args:
            frames: Shape (N, T, 3, H, W).
            state: What an earlier call returned; None at the beginning of the clips.
            corners: Pixels of the patches (N, T, 2); None lets the policy choose.
            skip: Whether f_L is really skipped on frames that need no close look.

        Returns:
            What was computed.
        """
        n, t = frames.shape[:2]
        flat = frames.flatten(0, 1)
        maps = self.encode_global(flat)
        states = maps.unflatten(0, (n, t)).transpose(0, 1)
        policy_state, head_state = state or (None, None)
        output = self.run_policy(states, policy_state)
        if corners is None:
            places = self.policy.places(self.policy.greedy(output)).transpose(0, 1)
            corners = patch_corners(places, frames.size(-1), self.patch_size)
        if output.gates is None:
            focused = torch.ones(n, t, dtype=torch.bool, device=frames.device)
            local = self.look(flat, corners.flatten(0, 1))
        else:
            focused = output.gates.t() >= self.gate_threshold
            local = self._look_gated(flat, corners, focused, skip)
        feats = self.join(maps.mean((2, 3)), local).view(n, t, -1)
        logits, states = self.cls_head.run(feats, head_state)
        return Frames(
            logits,
            corners,
            focused,
            output.actor.transpose(0, 1),
            feats,
            (output.hidden[-1], states[:, -1]),
        )

    def _look_gated(
        self, flat: Tensor, corners: Tensor, focused: Tensor, skip: bool
    ) -> Tensor:
        """Features (N * T, C) with zeros for frames that are not looked at."""
        opened, corners = focused.flatten(), corners.flatten(0, 1)
        if not skip:
            return self.look(flat, corners) * opened[:, None]
        local = flat.new_zeros(len(flat), self._local_width())
        if opened.any():
            rows = opened.nonzero().flatten()
            local[rows] = self.look(flat[rows], corners[rows]).to(local)
        return local

    def _local_width(self) -> int:
        width = self.cls_head.in_channels
        return width - self.policy.in_channels if self.with_global_feature else width

    @torch.no_grad()
    def step(
        self, frame: Tensor, state: State | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Online inference: read the next frame of each clip.

        Args:
            frame: Normalised frames (N, 3, H, W).
            state: What the last call returned; None for the first frame.

        Returns:
            Logits (N, C), equal to the offline ones after this frame; corners (N, 2) of
            the patches; the state to go on with.
        """
        out = self.run(self.prepare(frame[:, None]), state, skip=True)
        return out.logits[:, 0], out.corners[:, 0], out.state

    # Prediction -------------------------------------------------------------

    def predict(
        self, inputs: Tensor, data_samples: list | None = None, **kwargs
    ) -> list:
        """Predict in the current mode.

        Returns:
            One sample each with ``pred_score`` (C,), ``pred_label`` (1,),
            ``exit_index`` (1,), the frame it left at, from 0; ``corners`` (t, 2) and
            ``focused`` (t,), the patches of the frames that were computed; and
            ``frame_scores`` (t, C), the softmax after each of them. In ``simulate``
            also ``exit_labels`` (T, 5), ``exit_confs`` (T,) and ``exit_scores`` (T,),
            the criterion's; in ``execute`` ``cost`` (1,) in MACs.
        """
        frames = self.prepare(inputs)
        if data_samples is None:
            data_samples = [ActionDataSample() for _ in range(len(frames))]
        if self.mode == 'execute' and self.costs is None:
            self.measure_costs()
        if self.mode == 'execute' and self.thresholds is not None:
            predictions = self._execute(frames)
        else:
            out = self.run(frames, skip=self.mode == 'execute')
            predictions = self._decide(out)
        for sample, fields in zip(data_samples, predictions):
            scores = fields['frame_scores'][fields['exit_index'][0]]
            sample.set_pred_score(scores).set_pred_label(scores.argmax())
            for name, value in fields.items():
                sample.set_field(value, name, dtype=Tensor)
        return data_samples

    def _decide(self, out: Frames) -> list[dict[str, Tensor]]:
        """All frames were computed: who would have left where?"""
        logits = out.logits.float()
        probs = logits.softmax(-1)
        scores = self.criterion.score_all(logits.transpose(0, 1))
        last = logits.size(1) - 1
        if self.thresholds is None:
            exits = torch.full((len(logits),), last, device=logits.device)
        else:
            exits = assign_exits(scores, self.thresholds)
        top = probs.topk(min(5, probs.size(-1)), -1)
        samples = []
        for i in range(len(logits)):
            fields = dict(
                exit_index=exits[i : i + 1],
                corners=out.corners[i],
                focused=out.focused[i],
                frame_scores=probs[i],
            )
            if self.mode == 'simulate':
                fields.update(
                    exit_labels=top.indices[i],
                    exit_confs=top.values[i, :, 0],
                    exit_scores=scores[:, i],
                )
            else:
                fields['cost'] = self._cost(out.focused[i])
            samples.append(fields)
        return samples

    def _execute(self, frames: Tensor) -> list[dict[str, Tensor]]:
        """Step through the frames; clips that leave are not computed any further."""
        n, t = frames.shape[:2]
        if t != self.num_segments:
            raise ConfigError(
                f'the clips have {t} frames, the thresholds are for '
                f'model.num_segments={self.num_segments}'
            )
        exits = [t - 1] * n
        seen: list[list[tuple[Tensor, ...]]] = [[] for _ in range(n)]
        rows = torch.arange(n, device=frames.device)
        state, memory = None, None
        for start in range(0, t, self.frames_per_step):
            end = min(start + self.frames_per_step, t)
            out = self.run(frames[rows, start:end], state, skip=True)
            for i, row in enumerate(rows.tolist()):
                seen[row].append(
                    (out.corners[i], out.focused[i], out.logits[i].float().softmax(-1))
                )
            stays = torch.ones(len(rows), dtype=torch.bool, device=frames.device)
            for k in range(start, end):
                if k == t - 1:
                    break
                scores, memory = self.criterion(out.logits[:, k - start], memory)
                leave = stays & (scores >= self.thresholds[k])
                for row in rows[leave].tolist():
                    exits[row] = k
                stays &= ~leave
            rows = rows[stays]
            if len(rows) == 0:
                break
            state = tuple(part[stays] for part in out.state)
            memory = None if memory is None else memory[stays]
        samples = []
        for k, parts in zip(exits, seen):
            corners, focused, scores = (torch.cat(column) for column in zip(*parts))
            fields = dict(
                exit_index=torch.tensor([k], device=frames.device),
                corners=corners,
                focused=focused,
                frame_scores=scores,
                cost=self._cost(focused),
            )
            samples.append(fields)
        return samples

    def _cost(self, focused: Tensor) -> Tensor:
        """MACs (1,) of a clip whose computed frames were looked at closely or not."""
        macs = self.costs.of_frames(len(focused), int(focused.sum()))
        return torch.tensor([macs], dtype=torch.float64)
