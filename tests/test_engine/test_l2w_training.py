"""L2W-DEN under mmengine's runner: schedules, logs, resuming, several processes."""

import copy
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config, ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from dynnet.engine.hooks import L2WHook
from dynnet.engine.split_optim_wrapper import SplitOptimWrapperConstructor
from dynnet.models.data_parallel import OwnStepDataParallel
from dynnet.registry import MODELS

sys.path.insert(0, str(Path(__file__).parents[2]))  # this file is a script, too
from tools.benchmarks.double_backward import meta_gradients  # noqa: E402

MODEL = dict(
    type='dynnet.L2WClassifier',
    backbone=dict(
        type='dynnet.MSDNet',
        num_blocks=2,
        base_channels=4,
        growth_rate=2,
        in_channels=1,
    ),
    head=dict(
        type='dynnet.MultiExitHead',
        num_classes=4,
        exit=dict(type='dynnet.ConvExit', channels=4),
    ),
    wpn=dict(hidden_size=5),
    meta_interval=2,
)
OPTIMIZERS = dict(
    model=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4)),
    wpn=dict(optimizer=dict(type='Adam', lr=1e-3, weight_decay=1e-4)),
)
COSINE = dict(
    type='CosineAnnealingLR', eta_min=0, by_epoch=True, convert_to_iter_based=True
)


@pytest.fixture
def l2w_runner(tiny_config, monkeypatch):
    """Build a runner: 40 pictures, batches of 8, two epochs."""
    monkeypatch.setattr(Config, 'pretty_text', property(str))
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)

    def build(work_dir, **options):
        cfg = tiny_config(work_dir)
        cfg.model = ConfigDict(MODEL)
        cfg.optim_wrapper = ConfigDict(
            constructor='dynnet.SplitOptimWrapperConstructor', **OPTIMIZERS
        )
        cfg.param_scheduler = ConfigDict(COSINE)
        hooks = ['L2WHook', 'LogSampleWeightsHook']
        cfg.custom_hooks += [dict(type=f'dynnet.{name}') for name in hooks]
        cfg.custom_hooks[-1]['interval'] = 1
        cfg.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=2)
        cfg.val_evaluator = dict(type='dynnet.AnytimeAccuracy')
        cfg.merge_from_dict(options)
        return Runner.from_cfg(cfg)

    return build


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_training_logs_and_resumes_exactly(l2w_runner, tmp_path):
    runner = l2w_runner(tmp_path / 'whole')
    runner.train()

    def history(name):
        return runner.message_hub.get_scalar(f'train/{name}').data[0]

    # both learning rates: a cosine, by iteration, of 2 x 5
    for name, start in (('model', 0.05), ('wpn', 1e-3)):
        expected = [0.5 * start * (1 + math.cos(math.pi * t / 10)) for t in range(10)]
        assert history(f'{name}.lr') == pytest.approx(expected, rel=1e-6)
    # due at the batches 0, 2, 4 of both epochs, though 5 is odd
    assert len(history('meta_loss')) == 6
    assert len(history('loss')) == len(history('weights/mean')) == 10
    assert history('weights/mean') == pytest.approx([1] * 10, abs=1e-5)
    assert (history('weights/min') < 1).all() and (history('weights/max') > 1).all()
    shares = [history(f'meta_share/exit{k}') for k in (1, 2)]
    assert (shares[0] == 0.5).all() and (shares[1] == 0.5).all()
    assert len(shares[0]) == 6

    whole, first = (
        torch.load(tmp_path / 'whole' / f'epoch_{n}.pth', weights_only=False)
        for n in (2, 1)
    )
    for entry in ('optimizer', 'param_schedulers'):
        assert first[entry].keys() == {'model', 'wpn'}
    resumed = l2w_runner(
        tmp_path / 'resumed',
        resume=True,
        load_from=str(tmp_path / 'whole' / 'epoch_1.pth'),
    )
    resumed.train()
    again = torch.load(tmp_path / 'resumed' / 'epoch_2.pth', weights_only=False)
    for entry in ('state_dict', 'optimizer', 'param_schedulers'):
        assert equal(dict(whole[entry]), dict(again[entry])), entry
        assert not equal(dict(whole[entry]), dict(first[entry])), entry


def test_optimizers_share_the_model_among_them():
    init_default_scope('mmpretrain')
    model = MODELS.build(copy.deepcopy(MODEL))
    wrappers = SplitOptimWrapperConstructor(OPTIMIZERS)(model)

    def names(part):
        groups = wrappers[part].optimizer.param_groups
        own = {id(p) for group in groups for p in group['params']}
        return {n for n, p in model.named_parameters() if id(p) in own}

    assert names('wpn') == {n for n, _ in model.named_parameters() if 'wpn.' in n}
    assert names('wpn') | names('model') == dict(model.named_parameters()).keys()
    assert not names('wpn') & names('model')


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(wpn={}), "lacks the part 'model'"),
        (dict(model={}, type='OptimWrapper'), 'optim_wrapper.type belongs into'),
        (
            dict(model={}, type='AmpOptimWrapper', loss_scale='dynamic'),
            'mixed precision cannot be asked for all parts',
        ),
        (dict(optimizer={}, model={}), 'optim_wrapper.optimizer belongs into'),
        (dict(OPTIMIZERS, neck=OPTIMIZERS['wpn']), 'no part of that name, only'),
    ],
)
def test_bad_parts_are_refused(cfg, message):
    init_default_scope('mmpretrain')
    with pytest.raises(ValueError, match=message):
        SplitOptimWrapperConstructor(cfg)(MODELS.build(copy.deepcopy(MODEL)))


@pytest.fixture
def fake_runner():
    """What the hook's check looks at."""
    init_default_scope('mmpretrain')
    model = MODELS.build(copy.deepcopy(MODEL))
    said = []
    return SimpleNamespace(
        model=model,
        optim_wrapper=SplitOptimWrapperConstructor(OPTIMIZERS)(model),
        train_dataloader=SimpleNamespace(batch_size=8),
        logger=SimpleNamespace(warning=said.append),
        said=said,
    )


def test_hook_checks_before_training(fake_runner):
    hook = L2WHook()
    hook.before_train(fake_runner)
    assert not fake_runner.said
    fake_runner.model.shares[:] = [0.1, 0.9]
    hook.before_train(fake_runner)  # a tenth of four samples is none
    assert 'leave the exits [1] without any' in fake_runner.said[0]
    fake_runner.model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(
        fake_runner.model.backbone
    )
    with pytest.raises(ValueError, match='SyncBN'):
        hook.before_train(fake_runner)


def test_hook_refuses_other_models_and_wrappers(fake_runner):
    model = fake_runner.model
    fake_runner.model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match='needs an L2WClassifier, not Linear'):
        L2WHook().before_train(fake_runner)
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    fake_runner.model = wrapper
    with pytest.raises(ValueError, match=r"type='dynnet\.OwnStepDataParallel'"):
        L2WHook().before_train(fake_runner)


def part_of(rank):
    """The halves of one process, in float64."""
    generator = torch.Generator().manual_seed(rank)
    x = torch.randn(8, 1, 32, 32, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (8,), generator=generator)
    return list(zip(x.chunk(2), y.chunk(2)))


def run_rank(rank, folder):
    """One of two processes; this file is their script."""
    torch.set_num_threads(1)
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', store, rank=rank, world_size=2)
    init_default_scope('mmpretrain')
    torch.manual_seed(rank)  # it is the wrapper that makes them start alike
    model = MODELS.build(copy.deepcopy(MODEL)).double().train()
    wrapper = OwnStepDataParallel(model, broadcast_buffers=False)
    optimizers = SplitOptimWrapperConstructor(OPTIMIZERS)(wrapper)
    kept = []
    optimizers['wpn'].optimizer.register_step_pre_hook(
        lambda *args: kept.append([p.grad.clone() for p in model.wpn.parameters()])
    )
    start, weights = copy.deepcopy(model.state_dict()), []
    halves = part_of(rank)
    model._prepare = lambda half: halves[half['inputs'][0]]
    model.batch_index = 0
    for _ in range(2):
        wrapper.train_step(dict(inputs=[0, 1]), optimizers)
        weights.append([p.detach().clone() for p in model.parameters()])
    torch.save((start, weights, kept), folder / f'rank{rank}.pth')
    torch.distributed.destroy_process_group()


def test_two_processes_keep_the_same_weights(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, __file__, str(r), str(tmp_path)])
        for r in (0, 1)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    (start, weights, kept), (start1, weights1, kept1) = (
        torch.load(tmp_path / f'rank{r}.pth') for r in (0, 1)
    )
    assert equal(dict(start), dict(start1)) and equal(weights, weights1)
    assert equal(kept, kept1) and len(kept) == 4
    assert not equal(weights[0], weights[1])

    # The first gradient of the WPN: the mean of those that each process has alone,
    # from pseudo steps and assignments of its own.
    init_default_scope('mmpretrain')
    model = MODELS.build(copy.deepcopy(MODEL)).double().train()
    model.load_state_dict(start)
    sgd = SplitOptimWrapperConstructor(OPTIMIZERS)(model)['model'].optimizer
    alone = [meta_gradients(model, *part_of(r), sgd)[0] for r in (0, 1)]
    for ours, a, b in zip(kept[0], *alone, strict=True):
        assert torch.allclose(ours, (a + b) / 2, rtol=1e-6, atol=1e-10)


if __name__ == '__main__':
    run_rank(int(sys.argv[1]), Path(sys.argv[2]))
