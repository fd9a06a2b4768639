"""AdaFocus's training stages: what each trains, and what it starts from."""

from dataclasses import dataclass

from dynnet.utils.errors import ConfigError

# The parts of a recognizer that looks at patches.
PARTS = (
    'global_backbone',
    'global_head',
    'backbone',
    'local_head',
    'policy',
    'cls_head',
)


@dataclass(frozen=True)
class Stage:
    """A training stage.

    Attributes:
        trained: Parts that learn; all others are frozen and in eval mode.
        starts_from: What ``load_from`` has to bring, in words; None: nothing.
        eval_mode: Those parts of ``trained`` that learn in eval mode: their BN
            statistics stay, as in the published stage 3.
    """

    trained: tuple[str, ...]
    starts_from: str | None = None
    eval_mode: tuple[str, ...] = ()


STAGES = dict(
    # Stage 0: each encoder alone, on whole frames.
    glance=Stage(('global_backbone', 'global_head')),
    focus=Stage(('backbone', 'local_head')),
    # Stage 1: local encoder and classifier, on random patches.
    random=Stage(('backbone', 'cls_head'), 'both encoders, trained (stage 0)'),
    # Stage 2: the policy, by reinforcement.
    policy=Stage(('policy',), 'a network trained on random patches (stage 1)'),
    # Stage 3: the classifier on the patches that the policy picks.
    finetune=Stage(('cls_head',), 'a network with a trained policy (stage 2)'),
    finetune_local=Stage(
        ('backbone', 'cls_head'),
        'a network with a trained policy (stage 2)',
        eval_mode=('backbone',),
    ),
    # Frame skipping, our reconstruction: the policy with its gate.
    gate=Stage(('policy',), 'a network trained through stage 3'),
    # All at once, through differentiable patches: no stages.
    end_to_end=Stage(PARTS),
)


def get_stage(name: str) -> Stage:
    """Look a stage up.

    Raises:
        ConfigError: There is no such stage; the message lists them.
    """
    if name not in STAGES:
        raise ConfigError(
            f'train_cfg.stage={name!r} must be one of {", ".join(STAGES)}'
        )
    return STAGES[name]
