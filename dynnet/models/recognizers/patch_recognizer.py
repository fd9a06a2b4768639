"""The frame of a recognizer that looks at whole frames, then at patches of them."""

from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.recognizers import BaseRecognizer
from mmengine.model import BaseModel
from torch import Tensor, nn

from dynnet.ops.patches import check_patch_size, crop_patches
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from ..policies.gating import gate_entropy, gate_log_probs
from ..policies.patch_policy import PatchPolicy, PolicyOutput
from ..policies.ppo import PPOTerms, ppo_loss
from ..policies.rewards import REWARDS
from ..policies.rollout import Rollout
from .stages import PARTS, get_stage

# Keys of train_cfg beside the stage, with the published values.
TRAIN_DEFAULTS = dict(
    reward='random',
    gamma=0.7,
    clip=0.2,
    value_weight=0.5,
    entropy_weight=0.01,
    skip_penalty=0.0,
    from_scratch=False,
)


class PatchRecognizer(BaseRecognizer):
    """A global encoder glances, a policy picks a patch, a local encoder looks at it.

    This class holds the parts, the switch between training stages
    (:mod:`~dynnet.models.recognizers.stages`) and the policy's loss; its children say
    how frames, patches and classifier are wired.

    Args:
        backbone: The local encoder f_L (patches).
        global_backbone: The global encoder f_G (whole frames).
        policy: Config of a :class:`PatchPolicy`.
        cls_head: The classifier f_C.
        global_head: Classifier on f_G alone: stage 0's, and auxiliary.
        local_head: Classifier on f_L alone; None where no stage needs it.
        num_classes: Given to the heads that do not name their own.
        patch_size: Side P of a patch.
        frame_size: Side of the (square) frames.
        glance_size: Side that frames are reduced to for f_G; None: not reduced.
        max_frames: Frames that an encoder takes at a time while no gradient is
            recorded; None for no limit.
        train_cfg: ``stage`` and its settings (see ``TRAIN_DEFAULTS``); None for a
            network that is only used.
        test_cfg: See the children.
        data_preprocessor: mmaction2's.

    Raises:
        ConfigError: Unknown stage or setting, or a patch larger than the frame.
    """

    def __init__(
        self,
        backbone: dict,
        global_backbone: dict,
        policy: dict,
        cls_head: dict,
        global_head: dict | None = None,
        local_head: dict | None = None,
        num_classes: int | None = None,
        patch_size: int = 128,
        frame_size: int = 224,
        glance_size: int | None = None,
        max_frames: int | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        # mmaction2's own constructor builds by its registry alone and asks a backbone's
        # type where it comes from; ours takes every toolbox's parts.
        if data_preprocessor is None:
            data_preprocessor = dict(type='mmaction.ActionDataPreprocessor')
        if isinstance(data_preprocessor, dict):
            data_preprocessor = MODELS.build(data_preprocessor)
        BaseModel.__init__(self, data_preprocessor=data_preprocessor)
        self.backbone_from = 'mmaction2'
        self.backbone = MODELS.build(backbone)
        self.global_backbone = MODELS.build(global_backbone)
        self.policy: PatchPolicy = MODELS.build(
            dict(dict(type='PatchPolicy'), **policy)
        )
        for name, head in (
            ('cls_head', cls_head),
            ('global_head', global_head),
            ('local_head', local_head),
        ):
            if head is not None and num_classes is not None:
                head = dict(dict(num_classes=num_classes), **head)
            setattr(self, name, None if head is None else MODELS.build(head))
        check_patch_size(frame_size, patch_size)
        self.patch_size, self.frame_size = patch_size, frame_size
        self.glance_size, self.max_frames = glance_size, max_frames
        self.test_cfg = test_cfg
        self._weights_came = False
        self.stage: str | None = None
        self._set_train_cfg(train_cfg)

    def _set_train_cfg(self, train_cfg: dict | None) -> None:
        self.train_cfg = train_cfg
        settings = dict(train_cfg or {})
        stage = settings.pop('stage', None)
        unknown = sorted(set(settings) - set(TRAIN_DEFAULTS))
        if unknown:
            raise ConfigError(f'unknown keys in train_cfg: {unknown}')
        if stage is None and settings:
            raise ConfigError('train_cfg needs the key stage')
        settings = {**TRAIN_DEFAULTS, **settings}
        if settings['reward'] not in REWARDS:
            raise ConfigError(
                f'train_cfg.reward={settings["reward"]!r} must be one of '
                f'{", ".join(REWARDS)}'
            )
        self.reward = settings['reward']
        self.ppo_settings = {
            key: settings[key]
            for key in ('gamma', 'clip', 'value_weight', 'entropy_weight')
        }
        self.skip_penalty: float = settings['skip_penalty']
        self.from_scratch: bool = settings['from_scratch']
        if stage is not None:
            self.set_stage(stage)

    def set_stage(self, name: str) -> None:
        """Switch to a training stage: the one place that says what learns.

        Args:
            name: A key of ``STAGES``.

        Raises:
            ConfigError: No such stage, or a part that it trains is missing.
        """
        stage = get_stage(name)
        missing = [part for part in stage.trained if getattr(self, part) is None]
        if missing:
            raise ConfigError(
                f'train_cfg.stage={name!r} trains model.{missing[0]}, which the model '
                'does not have'
            )
        if name == 'gate' and self.policy.gate is None:
            raise ConfigError(
                "train_cfg.stage='gate' needs model.policy.with_gate=True"
            )
        self.stage = name
        for part in PARTS:
            module = getattr(self, part)
            if module is not None:
                module.requires_grad_(part in stage.trained)
        # What a stage has no use for must not wait for a gradient: data parallelism
        # would.
        if name == 'end_to_end':
            self.policy.critic.requires_grad_(False)
        if self.policy.gate is not None and name != 'gate':
            self.policy.gate.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> 'PatchRecognizer':
        """Set the mode; what the stage does not train in train mode stays in eval."""
        super().train(mode)
        if mode and getattr(self, 'stage', None) is not None:
            stage = get_stage(self.stage)
            learning = set(stage.trained) - set(stage.eval_mode)
            for part in PARTS:
                module = getattr(self, part)
                if module is not None and part not in learning:
                    module.eval()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # Both torch's and mmengine's loading pass here.
        self._weights_came = True
        super()._load_from_state_dict(*args, **kwargs)

    def _check_start(self) -> None:
        start = get_stage(self.stage).starts_from
        if start and not (self._weights_came or self.from_scratch):
            raise ConfigError(
                f'train_cfg.stage={self.stage!r} starts from {start}: set load_from to '
                'its checkpoint (or train_cfg.from_scratch=True to go without)'
            )

    def loss(self, inputs: Any, data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        """Compute the stage's losses.

        Args:
            inputs: Frames, as the children take them.
            data_samples: mmaction2's, with ``gt_label``: one label, or several of
                which one is drawn.

        Returns:
            Losses by name, and what else is worth logging.

        Raises:
            ConfigError: No stage, or one whose start was not loaded.
        """
        if self.stage in ('policy', 'gate'):
            return self.policy_losses(self.act(inputs, data_samples))
        batch = self._batch(inputs, data_samples)
        return getattr(self, f'loss_{self.stage}')(*batch)

    def act(self, inputs: Any, data_samples: list) -> Rollout:
        """Let the policy act on a batch, for :meth:`policy_losses` to learn from.

        Args:
            inputs: As for :meth:`loss`.
            data_samples: As for :meth:`loss`.

        Raises:
            ConfigError: Another stage than ``'policy'`` or ``'gate'``, or one whose
                start was not loaded.
        """
        if self.stage not in ('policy', 'gate'):
            raise ConfigError(
                f"train_cfg.stage={self.stage!r} learns no policy: 'policy' and "
                "'gate' do"
            )
        return self.rollout(*self._batch(inputs, data_samples))

    def _batch(self, inputs: Any, data_samples: list) -> tuple[Any, Tensor]:
        """Frames and labels, the stage's start checked."""
        if self.stage is None:
            raise ConfigError('training needs model.train_cfg.stage')
        self._check_start()
        labels = draw_labels(data_samples, self.cls_head.num_classes)
        return self.prepare(inputs), labels.to(next(self.parameters()).device)

    def prepare(self, inputs: Any) -> Any:
        """Check the frames and bring them into the form that the stages take."""
        raise NotImplementedError

    def rollout(self, frames: Any, labels: Tensor, **given: Tensor) -> Rollout:
        """Let the policy act on a batch and collect the rewards."""
        raise NotImplementedError

    def loss_finetune_local(self, frames: Any, labels: Tensor) -> dict[str, Tensor]:
        """Stage 3 with the local encoder: the same loss, more that learns."""
        return self.loss_finetune(frames, labels)

    def ppo_terms(self, rollout: Rollout) -> PPOTerms:
        """Evaluate the policy on a buffer.

        Args:
            rollout: The buffer. Its ``output`` is used where there is one (then the
                ratio is exactly 1), else the policy is run anew.

        Returns:
            The loss and its parts.
        """
        output, rollout.output = rollout.output, None
        if output is None:
            output = self.run_policy(rollout.states)
        return ppo_loss(
            rollout.rewards,
            self.action_log_probs(output, rollout.actions, rollout.gates),
            rollout.log_probs,
            output.values,
            self.action_entropy(output, rollout.gates),
            **self.ppo_settings,
        )

    def policy_losses(self, rollout: Rollout) -> dict[str, Tensor]:
        """The losses of one update of the policy, and the mean reward."""
        terms = self.ppo_terms(rollout)
        losses = dict(
            loss_policy=terms.loss_policy,
            loss_value=terms.loss_value,
            loss_entropy=terms.loss_entropy,
            reward=rollout.rewards.mean(),
        )
        if rollout.gates is not None:
            losses['focused'] = rollout.gates.float().mean()
        return losses

    def run_policy(self, states: Tensor, hidden: Tensor | None = None) -> PolicyOutput:
        """Run the policy in float32: half precision could flip a place."""
        with torch.autocast(states.device.type, enabled=False):
            return self.policy(states.float(), hidden)

    def action_log_probs(
        self, output: PolicyOutput, actions: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Log-probabilities (T, N); with gates, a place counts only where one looks."""
        places = self.policy.log_probs(output, actions)
        if gates is None:
            return places
        return gate_log_probs(output.gates, gates) + gates.to(places) * places

    def action_entropy(self, output: PolicyOutput, gates: Tensor | None) -> Tensor:
        """Entropy (T, N), of gates and places where there are both."""
        places = self.policy.entropy(output)
        if gates is None:
            return places
        return gate_entropy(output.gates) + gates.to(places) * places

    def encode_global(self, frames: Tensor) -> Tensor:
        """Maps (M, C, h, w) of frames (M, 3, H, W)."""
        if self.glance_size and frames.size(-1) != self.glance_size:
            frames = F.interpolate(frames, (self.glance_size,) * 2)
        return self._encode(self.global_backbone, frames)

    def encode_local(self, patches: Tensor) -> Tensor:
        """Features (M, C) of patches (M, 3, P, P)."""
        return self._encode(self.backbone, patches).mean((2, 3))

    def look(self, frames: Tensor, corners: Tensor) -> Tensor:
        """Features (M, C) of the patches of frames (M, 3, H, W) at corners (M, 2)."""
        return self.encode_local(crop_patches(frames, corners, self.patch_size))

    def _encode(self, encoder: nn.Module, frames: Tensor) -> Tensor:
        if torch.is_grad_enabled() or not self.max_frames:
            return _last(encoder(frames))
        parts = [_last(encoder(part)) for part in frames.split(self.max_frames)]
        return torch.cat(parts)

    def extract_feat(self, inputs: Any, **kwargs: Any) -> Any:
        """mmaction2's entry for features: here the logits, see :meth:`_forward`."""
        return self._forward(inputs), {}


def _last(maps: Tensor | tuple[Tensor, ...]) -> Tensor:
    """mmpretrain's backbones return a tuple, mmaction2's a map."""
    return maps if isinstance(maps, Tensor) else maps[-1]


def draw_labels(data_samples: list, num_classes: int) -> Tensor:
    """The label of each sample, one drawn where there are several.

    Args:
        data_samples: With ``gt_label``; negative entries are padding.
        num_classes: C.

    Returns:
        Shape (N,), int64.

    Raises:
        ConfigError: A sample without a label, or a label outside of the classes; the
            file is named where the sample knows it.
    """
    drawn = []
    for i, sample in enumerate(data_samples):
        labels = sample.gt_label.reshape(-1)
        labels = labels[labels >= 0]
        if len(labels) == 0 or int(labels.max()) >= num_classes:
            info = sample.metainfo
            where = info.get('filename') or info.get('frame_dir') or f'sample {i}'
            what = f'label {int(labels.max())}' if len(labels) else 'no label'
            raise ConfigError(f'{where}: {what}, the model has {num_classes} classes')
        pick = int(torch.randint(len(labels), ())) if len(labels) > 1 else 0
        drawn.append(int(labels[pick]))
    return torch.tensor(drawn)
