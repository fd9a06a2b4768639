"""How fast early exit really is: full forward, leaving early, per-exit time.

Rows:

* ``*_full_*``: our full forward against the straightforward form (a plain port).
* ``exec_*_pK_*``: really leaving, exit shares q_k ~ (K / 20)^k drawn at random, against
  the implied time: the sum over the stages of each stage's time alone, at the batch
  size that reaches it.
* ``exec_all_last_*``: the execute mode with nobody leaving, against the full forward.
* without ``--quick``: our full forward against the same modules run eagerly (resizes
  of equal size already skipped); the cumulative time up to each exit; execute against
  full forward at several exit shares, also at ImageNet size; and, given ``--config``,
  ``--checkpoint`` and ``--thresholds``, a trained net at its own operating points.
"""

import time
from functools import partial

import numpy as np
import torch
from harness import Case, Clock, SelfTimed, make_parser, run
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from straightforward import run_straightforward
from torch import Tensor, nn

from dynnet.models.classifiers import run_early_exit
from dynnet.models.exits import ExitCriterion, ExitThresholds, exit_shares
from dynnet.registry import MODELS
from dynnet.utils.checkpoint import load_weights

TREATED = dict(format='folded: products NCHW, 3x3 channels_last', bn_folded=True)
PLAIN = dict(format='NCHW', bn_folded=False)

NETS = dict(
    ranet_c100_s1233=dict(
        type='dynnet.RANet',
        scale_list=(1, 2, 3, 3),
        growth_factor=(4, 2, 1, 1),
        bottleneck_factor=(4, 2, 1, 1),
    ),
    ranet_c100_s123=dict(type='dynnet.RANet', step=2, step_mode='lg'),
    msdnet_c100_nb7=dict(type='dynnet.MSDNet', num_blocks=7, step_mode='lin_grow'),
    ranet_in1k_n32=dict(
        type='dynnet.RANet',
        stem='imagenet',
        scale_list=(1, 2, 3, 4),
        growth_factor=(4, 2, 2, 1),
        bottleneck_factor=(4, 2, 2, 1),
        step=8,
        base_channels=32,
        growth_rate=16,
    ),
    msdnet_in1k_step4=dict(
        type='dynnet.MSDNet',
        stem='imagenet',
        base=4,
        step=4,
        base_channels=32,
        growth_rate=16,
        growth_factor=(1, 2, 4, 4),
        bottleneck_factor=(1, 2, 4, 4),
    ),
)


class DrawnExits(ExitCriterion):
    """Max softmax, raised above 1 where a sample's drawn exit is reached.

    Args:
        exits: Exit (N,) of every sample, from 0.
    """

    def __init__(self, exits: Tensor) -> None:
        self.exits = exits

    def __call__(self, logits: Tensor, memory: Tensor | None = None):
        left = self.exits if memory is None else memory
        scores = logits.softmax(1).amax(1)
        return scores + (left == 0), left - 1


def build(name: str, seed: int = 0) -> nn.Module:
    """Build a net in eval mode whose BN statistics belong to its weights."""
    torch.manual_seed(seed)
    backbone = NETS[name]
    imagenet = backbone.get('stem') == 'imagenet'
    model = MODELS.build(
        dict(
            type='dynnet.MultiExitClassifier',
            backbone=backbone,
            head=dict(
                type='dynnet.MultiExitHead',
                num_classes=1000 if imagenet else 100,
                exit=dict(type='dynnet.ConvExit', channels=None if imagenet else 128),
            ),
        )
    )
    # With the statistics of a fresh net the activations of MSDNet shrink to denormal
    # numbers, on which everything is slow.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(picture(name, 4 if imagenet else 16))
    return model.eval()


def picture(name: str, batch: int) -> Tensor:
    """Made pictures of the net's size."""
    size = 224 if NETS[name].get('stem') == 'imagenet' else 32
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, 3, size, size, generator=generator)


def draw_exits(p: float, num_exits: int, samples: int) -> Tensor:
    """Draw exits (N,) with shares q_k ~ (p / 20)^k."""
    shares = np.asarray(exit_shares(p, num_exits), dtype=np.float64)
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.choice(num_exits, samples, p=shares / shares.sum()))


def full(model: nn.Module, x: Tensor) -> None:
    """All exits."""
    model.head(model.backbone(x))


def execute(model: nn.Module, x: Tensor, exits: Tensor, batch: int) -> None:
    """Leave at the given exits, batch by batch."""
    limits = [1.0] * (model.num_exits - 1)
    for part, drawn in zip(x.split(batch), exits.split(batch)):
        run_early_exit(model.backbone, model.head, DrawnExits(drawn), limits, part)


def implied(model: nn.Module, x: Tensor, exits: Tensor, batch: int, clock: Clock):
    """Seconds of every stage alone, at the batch size that reaches it, summed."""
    total, known = 0.0, {}
    for part, drawn in zip(x.split(batch), exits.split(batch)):
        for k in range(model.num_exits):
            reach = int((drawn >= k).sum())
            if reach == 0:
                break
            if (k, reach) not in known:
                known[k, reach] = stage_seconds(model, part[:reach], k, clock)
            total += known[k, reach]
    return total


def stage_seconds(model: nn.Module, x: Tensor, stage: int, clock: Clock) -> float:
    """Seconds from exit ``stage - 1`` to exit ``stage``, its classifier included."""
    state = None
    for _ in range(stage):
        if state is None:
            state = model.backbone.init_state(x)
        _, state = model.backbone.step(state)
    start = clock()
    if state is None:
        state = model.backbone.init_state(x)
    feat, _ = model.backbone.step(state)
    model.criterion(model.head.forward_exit(stage, feat))
    return clock() - start


def check_equal(model: nn.Module, x: Tensor) -> None:
    """Stop unless both forms give the same logits."""
    with torch.inference_mode():
        ours, plain = model(x), torch.stack(run_straightforward(model, x))
    limit = 1e-4 * max(1.0, float(plain.abs().max()))
    if not torch.allclose(ours, plain, rtol=0, atol=limit):
        raise RuntimeError('the straightforward form does not give our logits')


def full_case(name: str, model: nn.Module, batch: int, bar: float) -> Case:
    """Our full forward against the straightforward form."""
    x = picture(name, batch)
    check_equal(model, x)
    return Case(
        f'{name}_full_b{batch}',
        batch,
        partial(full, model, x),
        partial(run_straightforward, model, x),
        'straightforward form, every resize executed',
        bar,
        dict(TREATED, baseline_format='NCHW', baseline_bn_folded=False),
    )


def eager_case(name: str, model: nn.Module, batch: int) -> Case:
    """Our full forward against our own modules without the folded path."""
    x = picture(name, batch)

    def eager() -> None:
        # With gradients on, the plain modules run.
        with torch.inference_mode(False), torch.enable_grad():
            full(model, x)

    return Case(
        f'{name}_eager_b{batch}',
        batch,
        partial(full, model, x),
        eager,
        'our modules, eager NCHW, gradients recorded',
        extra=dict(TREATED, baseline_format='NCHW', baseline_bn_folded=False),
    )


def exec_case(name: str, model: nn.Module, p: int, batch: int, bar: float) -> Case:
    """Really leaving against the implied time."""
    samples = max(batch, 16)
    x, exits = picture(name, samples), draw_exits(p, model.num_exits, samples)
    return Case(
        f'exec_{name}_p{p}_b{batch}',
        batch,
        partial(execute, model, x, exits, batch),
        SelfTimed(partial(implied, model, x, exits, batch)),
        'implied time: every stage alone at the batch size that reaches it',
        bar,
        dict(TREATED, exits=torch.bincount(exits, minlength=model.num_exits).tolist()),
    )


def share_case(name: str, model: nn.Module, p: int, batch: int) -> Case:
    """Really leaving against the full forward."""
    samples = max(batch, 16)
    x, exits = picture(name, samples), draw_exits(p, model.num_exits, samples)

    def everything() -> None:
        for part in x.split(batch):
            full(model, part)

    return Case(
        f'saved_{name}_p{p}_b{batch}',
        batch,
        partial(execute, model, x, exits, batch),
        everything,
        'our full forward',
        extra=dict(
            TREATED,
            pictures=samples,
            exits=torch.bincount(exits, minlength=model.num_exits).tolist(),
        ),
    )


def all_last_case(label: str, name: str, model: nn.Module, bar: float) -> Case:
    """The execute mode with nobody leaving against the full forward."""
    x = picture(name, 64)
    limits = [float('inf')] * (model.num_exits - 1)
    return Case(
        f'exec_all_last_{label}_b64',
        64,
        partial(run_early_exit, model.backbone, model.head, model.criterion, limits, x),
        partial(full, model, x),
        'our full forward',
        bar,
        TREATED,
    )


def up_to(model: nn.Module, x: Tensor, last: int) -> None:
    """Run up to exit ``last`` with every classifier on the way."""
    for k, feat in enumerate(model.backbone.iter_exits(x)):
        model.head.forward_exit(k, feat)
        if k == last:
            return


def exit_cases(name: str, model: nn.Module, batch: int) -> list[Case]:
    """Cumulative time at each exit as a share of the full forward."""
    x = picture(name, batch)
    return [
        Case(
            f'{name}_exit{k + 1}_b{batch}',
            batch,
            partial(up_to, model, x, k),
            partial(full, model, x),
            'our full forward',
            extra=TREATED,
        )
        for k in range(model.num_exits)
    ]


def trained_cases(config: str, checkpoint: str, thresholds: str) -> list[Case]:
    """A trained net on its test pictures at the operating points of its file."""
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model).eval()
    load_weights(model, checkpoint)
    solved = ExitThresholds.load(thresholds)
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    x = model.data_preprocessor(next(iter(loader)))['inputs'][:256]
    cases = []
    for budget in np.linspace(solved.exit_costs[0], solved.exit_costs[-1], 6)[1:]:
        try:
            point = solved.choose(float(budget))
        except ValueError:
            continue
        for batch in (1, 64):
            parts = (x if batch > 1 else x[:32]).split(batch)

            def leave(parts=parts, limits=point.thresholds) -> None:
                for part in parts:
                    run_early_exit(
                        model.backbone, model.head, model.criterion, limits, part
                    )

            def everything(parts=parts) -> None:
                for part in parts:
                    full(model, part)

            cases.append(
                Case(
                    f'trained_{point.name}_b{batch}',
                    batch,
                    leave,
                    everything,
                    'our full forward',
                    extra=dict(
                        TREATED,
                        pictures=sum(map(len, parts)),
                        macs_ratio=point.expected_cost / solved.exit_costs[-1],
                    ),
                )
            )
    return cases


def main() -> None:
    """Build the cases and measure them."""
    parser = make_parser(__doc__.splitlines()[0])
    parser.add_argument('--config', help='config of a trained net')
    parser.add_argument('--checkpoint', help='its checkpoint')
    parser.add_argument('--thresholds', help='its thresholds JSON')
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    start = time.perf_counter()

    names = ['ranet_c100_s1233', 'ranet_c100_s123', 'msdnet_c100_nb7']
    s1233, s123, nb7 = (build(name) for name in names)
    cases = [
        full_case('ranet_c100_s1233', s1233, 64, 0.40),
        full_case('ranet_c100_s1233', s1233, 1, 0.55),
        full_case('ranet_c100_s123', s123, 64, 0.50),
        full_case('msdnet_c100_nb7', nb7, 64, 0.75),
        full_case('msdnet_c100_nb7', nb7, 1, 0.70),
    ]
    for name, model in (('ranet_c100_s1233', s1233), ('msdnet_c100_nb7', nb7)):
        for p in (10, 15):
            for batch in (64, 1):
                cases.append(exec_case(name, model, p, batch, 1.15))
    cases.append(all_last_case('ranet', 'ranet_c100_s1233', s1233, 1.03))
    cases.append(all_last_case('msdnet', 'msdnet_c100_nb7', nb7, 1.03))
    if not args.quick:
        for name, model in zip(names, (s1233, s123, nb7)):
            for batch in (64, 1):
                cases.append(eager_case(name, model, batch))
                cases += exit_cases(name, model, batch)
                cases += [share_case(name, model, p, batch) for p in (10, 15, 20)]
        for name in ('ranet_in1k_n32', 'msdnet_in1k_step4'):
            model = build(name)
            for batch in (1, 8):
                cases += [share_case(name, model, p, batch) for p in (10, 15, 20)]
        if args.config:
            cases += trained_cases(args.config, args.checkpoint, args.thresholds)
    run(cases, args, 'early_exit_speed.py')
    print(f'{time.perf_counter() - start:.0f} s, {args.out}')


if __name__ == '__main__':
    main()
