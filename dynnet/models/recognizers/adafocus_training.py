"""The training stages of the recurrent form of AdaFocus."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.ops.patches import (
    crop_patches,
    patch_corners,
    random_corners,
    sample_patches,
)
from dynnet.utils.errors import ConfigError

from ..policies.rewards import confidence_reward, gate_reward
from ..policies.rollout import Rollout
from .patch_recognizer import PatchRecognizer


class AdaFocusTraining(PatchRecognizer):
    """What an ``AdaFocus`` learns by, stage by stage (section 3 of the paper).

    Attributes:
        with_global_feature: Whether the classifier reads f_G's feature besides f_L's.
        gate_threshold: From which gate probability on a frame is looked at.
    """

    with_global_feature: bool
    gate_threshold: float

    def join(self, glance: Tensor, local: Tensor) -> Tensor:
        """The classifier's input (M, D) from both features (M, C)."""
        return torch.cat([glance, local], 1) if self.with_global_feature else local

    def loss_glance(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Stage 0, f_G alone: cross-entropy of the frames' mean logits."""
        vectors = self.encode_global(frames.flatten(0, 1)).mean((2, 3))
        logits = self.global_head(vectors.unflatten(0, frames.shape[:2]))
        return dict(loss_cls=F.cross_entropy(logits, labels))

    def loss_focus(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Stage 0, f_L alone, on whole frames."""
        vectors = self.encode_local(frames.flatten(0, 1))
        logits = self.local_head(vectors.unflatten(0, frames.shape[:2]))
        return dict(loss_cls=F.cross_entropy(logits, labels))

    def loss_random(
        self, frames: Tensor, labels: Tensor, corners: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stage 1: the classifier and f_L on a random patch of every frame.

        Args:
            frames: Shape (N, T, 3, H, W).
            labels: Shape (N,).
            corners: Given corners (N, T, 2) instead of random ones.
        """
        if corners is None:
            corners = self.random_corners(frames)
        with torch.no_grad():
            glance = self.encode_global(frames.flatten(0, 1)).mean((2, 3))
        local = self.look(frames.flatten(0, 1), corners.flatten(0, 1))
        return self._classify(frames, glance, local, labels)

    def loss_finetune(
        self, frames: Tensor, labels: Tensor, corners: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Stage 3: the classifier (and f_L) on the patches that the policy picks.

        Args:
            frames: Shape (N, T, 3, H, W).
            labels: Shape (N,).
            corners: Given corners (N, T, 2) instead of the policy's.
        """
        flat = frames.flatten(0, 1)
        train_local = next(self.backbone.parameters()).requires_grad
        with torch.no_grad():
            maps = self.encode_global(flat)
            output = self.run_policy(
                maps.unflatten(0, frames.shape[:2]).transpose(0, 1)
            )
            if corners is None:
                places = self.policy.places(self.policy.greedy(output))
                corners = patch_corners(
                    places.transpose(0, 1), frames.size(-1), self.patch_size
                )
        with torch.set_grad_enabled(train_local):
            local = self.look(flat, corners.flatten(0, 1))
        if output.gates is not None:
            opened = output.gates.t() >= self.gate_threshold
            local = local * opened.flatten()[:, None]
        return self._classify(frames, maps.mean((2, 3)), local, labels)

    def _classify(
        self, frames: Tensor, glance: Tensor, local: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        feats = self.join(glance, local).unflatten(0, frames.shape[:2])
        logits = self.cls_head(feats)
        right = logits[:, -1].argmax(-1) == labels
        return dict(
            loss_cls=self.cls_head.loss(logits, labels), top1=right.float().mean()
        )

    def random_corners(self, frames: Tensor) -> Tensor:
        """A random corner (N, T, 2) for every frame."""
        return random_corners(
            tuple(frames.shape[:2]), frames.size(-1), self.patch_size, frames.device
        )

    def rollout(
        self,
        frames: Tensor,
        labels: Tensor,
        actions: Tensor | None = None,
        corners: Tensor | None = None,
        gates: Tensor | None = None,
    ) -> Rollout:
        """Let the policy act on a batch and collect the rewards (stage 2).

        The places depend on the global maps alone: all are drawn at once, and f_L sees
        the chosen patches of all frames, and the random ones, in one call.

        Args:
            frames: Shape (N, T, 3, H, W).
            labels: Shape (N,).
            actions: Given actions (T, N, ...) instead of drawn ones.
            corners: Given corners (T, N, 2) of the random patches.
            gates: Given gates (T, N).

        Returns:
            The buffer.
        """
        n, t = frames.shape[:2]
        flat = frames.flatten(0, 1)
        with torch.no_grad():
            maps = self.encode_global(flat)
            states = maps.unflatten(0, (n, t)).transpose(0, 1).contiguous()
        output = self.run_policy(states)
        with torch.no_grad():
            if actions is None:
                actions = self.policy.sample(output)
            places = self.policy.places(actions).transpose(0, 1)
            chosen = patch_corners(places, frames.size(-1), self.patch_size)
            glance = maps.mean((2, 3))
            if self.stage == 'gate':
                if gates is None:
                    gates = torch.bernoulli(output.gates)
                local = self.look(flat, chosen.flatten(0, 1))
                other = torch.zeros_like(local)
                # The history holds what was really seen.
                seen = local * gates.t().flatten()[:, None]
            elif self.reward == 'random':
                gates = None
                if corners is None:
                    corners = self.random_corners(frames).transpose(0, 1)
                local, other = self.look(
                    torch.cat([flat, flat]),
                    torch.cat(
                        [chosen.flatten(0, 1), corners.transpose(0, 1).flatten(0, 1)]
                    ),
                ).chunk(2)
                seen = local
            else:
                gates = None
                local = seen = self.look(flat, chosen.flatten(0, 1))
                other = None
            logits, memories = self.cls_head.run(self._sequence(glance, seen, n))
            baseline = None
            if other is not None:
                baseline = self.cls_head.peek(
                    self._sequence(glance, other, n), memories
                ).transpose(0, 1)
            logits = logits.transpose(0, 1)
            if gates is not None:
                focused = self.cls_head.peek(self._sequence(glance, local, n), memories)
                rewards = gate_reward(
                    focused.transpose(0, 1), baseline, labels, gates, self.skip_penalty
                )
            else:
                rewards = confidence_reward(logits, labels, baseline, self.reward)
        log_probs = self.action_log_probs(output, actions, gates).detach()
        return Rollout(
            states,
            actions,
            log_probs,
            rewards,
            chosen.transpose(0, 1),
            logits,
            baseline,
            gates,
            output,
        )

    def _sequence(self, glance: Tensor, local: Tensor, n: int) -> Tensor:
        return self.join(glance, local).unflatten(0, (n, -1))

    def loss_end_to_end(self, frames: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Everything at once, without reinforcement: in the spirit of AdaFocusV2.

        Patches are cut between the pixels, so that the classifier's gradient reaches
        the policy, whose own input is detached. Learned and random patches are
        classified, the losses averaged; both encoders have losses of their own.
        """
        if not self.policy.continuous:
            raise ConfigError(
                "train_cfg.stage='end_to_end' needs model.policy.kind='continuous'"
            )
        n, t = frames.shape[:2]
        flat = frames.flatten(0, 1)
        maps = self.encode_global(flat)
        glance = maps.mean((2, 3))
        states = maps.detach().unflatten(0, (n, t)).transpose(0, 1)
        places = self.run_policy(states).actor.transpose(0, 1).flatten(0, 1)
        learned = self.encode_local(sample_patches(flat, places, self.patch_size))
        corners = self.random_corners(frames).flatten(0, 1)
        drawn = self.encode_local(crop_patches(flat, corners, self.patch_size))
        losses = self._classify(frames, glance, learned, labels)
        other = self._classify(frames, glance, drawn, labels)
        losses['loss_cls'] = (losses['loss_cls'] + other['loss_cls']) / 2
        repeated = labels.repeat_interleave(t)
        losses['loss_global'] = F.cross_entropy(
            self.global_head.forward_frames(glance), repeated
        )
        local_losses = [
            F.cross_entropy(self.local_head.forward_frames(feats), repeated)
            for feats in (learned, drawn)
        ]
        losses['loss_local'] = sum(local_losses) / 2
        return losses
