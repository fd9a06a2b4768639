"""Exits on any backbone that runs stage after stage."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import torch
from torch import Tensor, nn

from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

from .base import MultiExitBackbone, check_exit_index


@dataclass
class _State:
    stage: int
    x: Tensor


@MODELS.register_module()
class StagedBackbone(MultiExitBackbone):
    """Makes an mm backbone resumable: one exit after each of its ``out_indices``.

    The backbone's modules are run as a chain. The chain is known for the ResNet family
    (ResNet, ResNeXt, SE-ResNet, ResNet_CIFAR, RegNet, ...), MobileNetV2, DenseNet and
    VGG; for others ``stages`` names it. When it is built, one small picture goes
    through the chain and through the backbone's own forward, which have to agree.

    Args:
        backbone: Config of the backbone, ``out_indices`` included.
        stages: Per exit, the names of the modules that run before it, in order, as in
            ``[['conv1', 'norm1', 'relu', 'maxpool', 'layer1'], ['layer2'], ...]``.
        input_size: Side of the square picture for that check.
        exit_index: Keep and return only what this exit (from 0) needs.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: the stages are unknown or are not what the backbone computes.
    """

    def __init__(
        self,
        backbone: dict,
        stages: Sequence[Sequence[str]] | None = None,
        input_size: int = 64,
        exit_index: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        in_channels = backbone.get('in_channels', 3)
        self.backbone = MODELS.build(backbone)
        names = find_stages(self.backbone) if stages is None else stages
        self.stages = [list(stage) for stage in names]
        self.exit_index = None
        self.num_exits = len(self.stages)
        x = torch.linspace(-1, 1, in_channels * input_size**2)
        self.exit_channels = self._probe(x.view(1, in_channels, input_size, input_size))
        self.num_exits = check_exit_index(exit_index, len(self.stages))
        self.exit_index = exit_index
        self.exit_channels = self.exit_channels[: self.num_exits]
        for name in sum(self.stages[self.num_exits :], []):
            parent, _, child = name.rpartition('.')
            owner = attrgetter(parent)(self.backbone) if parent else self.backbone
            delattr(owner, child)

    @torch.no_grad()
    def _probe(self, x: Tensor) -> tuple[int, ...]:
        was_training = self.training
        self.eval()
        theirs = self.backbone(x)
        try:
            ours = self(x)
        except (AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f'stages={self.stages} do not run one after the other: {reason}'
            ) from None
        self.train(was_training)
        same = len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))
        if not same:
            raise ConfigError(
                f'stages={self.stages} do not give what {type(self.backbone).__name__} '
                f'returns: {[tuple(f.shape) for f in ours]} against '
                f'{[tuple(f.shape) for f in theirs]}'
            )
        return tuple(feat.size(1) for feat in ours)

    def init_state(self, x: Tensor) -> _State:
        return _State(0, x)

    def step(self, state: _State) -> tuple[Tensor, _State]:
        x = state.x
        for name in self.stages[state.stage]:
            x = attrgetter(name)(self.backbone)(x)
        return x, _State(state.stage + 1, x)

    def select(self, state: _State, index: Tensor) -> _State:
        return replace(state, x=state.x.index_select(0, index))


def find_stages(backbone: nn.Module) -> list[list[str]]:
    """Return the modules that run up to each of the backbone's ``out_indices``.

    Raises:
        ValueError: the family of the backbone is unknown.
    """
    if hasattr(backbone, 'res_layers'):  # the ResNet family
        if getattr(backbone, 'deep_stem', False):
            stem = ['stem']
        else:
            stem = ['conv1', 'norm1', 'relu']
        if hasattr(backbone, 'maxpool'):
            stem.append('maxpool')
        parts = [[name] for name in backbone.res_layers]
    elif hasattr(backbone, 'transitions'):  # DenseNet
        stem = ['stem']
        parts = [
            [f'stages.{i}', f'transitions.{i}'] for i in range(len(backbone.stages))
        ]
    elif hasattr(backbone, 'range_sub_modules'):  # VGG
        stem = []
        parts = [
            [f'{backbone.module_name}.{j}' for j in range(*span)]
            for span in backbone.range_sub_modules
        ]
    elif hasattr(backbone, 'conv1') and isinstance(
        getattr(backbone, 'layers', None), list
    ):  # MobileNetV2
        stem = ['conv1']
        parts = [[name] for name in backbone.layers]
    else:
        raise ConfigError(
            f'the stages of {type(backbone).__name__} are not known: give `stages`, '
            'per exit the names of the modules that run before it'
        )
    stages, names = [], stem
    for i, part in enumerate(parts):
        names = names + part
        if i in backbone.out_indices:
            stages.append(names)
            names = []
    return stages
