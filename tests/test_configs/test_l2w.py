"""L2W-DEN's configs: the published recipes, their plain twins, and what they cost."""

import copy
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import init_default_scope

from dynnet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from dynnet.utils.cost import count_exit_costs

from .common import build_model, configs_of, load, metafile_entry, parse_name, read

CONFIGS = configs_of('l2w')
L2W = [name for name in CONFIGS if '_l2w_' in name]
PAPER = [name for name in L2W if re.search('300e|100e', name)]
TWINS = [name for name in L2W if 'msdnet' in name]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def twin_of(name: str) -> str:
    """The plain config with the same network, epochs and data, at half the batch."""
    folder, stem = name.split('/')
    half = re.sub(r'xb(\d+)', lambda m: f'xb{int(m[1]) // 2}', stem)
    return f'{folder}/{half.replace("_l2w_", "_plain_")}'


def test_every_recipe_and_its_twin_is_there():
    data = {f'{parse_name(n)["model"]} {parse_name(n)["data"]}' for n in PAPER}
    assert data == {
        'msdnet-nb5-lin_l2w cifar10',
        'msdnet-nb5-lin_l2w cifar100',
        *(f'msdnet-step{step}_l2w in1k' for step in (4, 6, 7)),
    }
    assert len(PAPER) == 2 * len(data)  # with and without a hold-out
    assert {*map(twin_of, TWINS)} == {n for n in CONFIGS if '_plain_' in n}
    assert any('ranet' in n for n in L2W) and any('resnet' in n for n in L2W)


def one_per_model(names: list[str]) -> list[str]:
    chosen = {}
    for name in names:
        chosen.setdefault(repr(read(name).model), name)
    return list(chosen.values())


@pytest.mark.parametrize('name', one_per_model(CONFIGS))
def test_builds_and_costs(name):
    cfg = read(name)
    # (A StagedBackbone compares real outputs while it is built.)
    model = build_model(cfg, device='cpu' if 'resnet' in name else 'meta')
    shape = (3, 224, 224) if 'in1k' in name else (model_channels(cfg), 32, 32)
    costs = count_exit_costs(model, shape)
    assert costs.uncounted == []
    for other in CONFIGS:
        if read(other).model == cfg.model:
            assert metafile_entry(other)['Metadata'] == {
                'FLOPs': int(costs.macs[-1]),
                'Parameters': costs.params[-1],
            }
    if '_l2w_' in name and 'msdnet' in name:
        twin = build_model(read(twin_of(name)), device='meta')
        ours = {n for n in model.state_dict() if not n.startswith('wpn.')}
        assert ours == twin.state_dict().keys()


def model_channels(cfg) -> int:
    return cfg.model.backbone.get('in_channels', 3)


@pytest.mark.parametrize('name', PAPER)
def test_papers_recipe(name):
    cfg, match = read(name), parse_name(name)
    imagenet = match['data'] == 'in1k'
    wpn = dict(hidden_size=500, num_layers=1, input_type='loss')
    wpn |= dict(centre='mat', delta=0.3) if imagenet else dict(centre='col', delta=0.8)
    assert cfg.model.wpn == wpn
    assert cfg.model.target == 15
    assert cfg.model.meta_interval == (100 if imagenet else 1)
    assert cfg.model.get('wpn_loss') is None
    assert cfg.auto_scale_lr.base_batch_size == (4096 if imagenet else 1024)
    assert cfg.optim_wrapper.model == dict(
        optimizer=dict(type='SGD', lr=0.8, momentum=0.9, weight_decay=1e-4)
    )
    assert cfg.optim_wrapper.wpn == dict(
        optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4)
    )
    assert cfg.param_scheduler.type == 'CosineAnnealingLR'
    assert cfg.param_scheduler.convert_to_iter_based
    assert cfg.param_scheduler.eta_min == 0
    assert cfg.model_wrapper_cfg.type == 'dynnet.OwnStepDataParallel'
    held = 'holdout' in name
    assert (cfg.train_dataloader.dataset.type == 'dynnet.HoldoutSubset') == held
    assert ('calib_dataloader' in cfg.test_cfg) == held


@pytest.mark.parametrize('name', TWINS)
def test_twin_differs_in_the_method_alone(name):
    ours, plain = (copy.deepcopy(read(n)) for n in (name, twin_of(name)))
    for cfg in (ours, plain):
        for key in ('model_wrapper_cfg', 'custom_hooks', 'auto_scale_lr', 'filename'):
            cfg.pop(key, None)
    sgd = ours.pop('optim_wrapper').model.optimizer
    assert plain.pop('optim_wrapper').optimizer == sgd
    model, other = ours.pop('model'), plain.pop('model')
    assert model.backbone == other.backbone and model.head == other.head
    assert ours.train_dataloader.pop('batch_size') == 2 * (
        plain.train_dataloader.pop('batch_size')
    )
    assert ours.to_dict() == plain.to_dict()


@pytest.mark.parametrize('name', L2W[-2:])
def test_trains_and_tests(name, made_data, tmp_path):
    """A meta step on the made data, then what is tested."""
    from dynnet.utils.cli import build_runner, set_collate_functions

    cfg = load(name)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.num_workers = 0
        shrink(loader)
    cfg.train_dataloader.batch_size = 4
    cfg.test_cfg.calib_dataloader.num_workers = 0
    shrink(cfg.test_cfg)
    cfg.train_cfg = dict(by_epoch=False, max_iters=1, val_interval=1)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint.by_epoch = False
    cfg.merge_from_dict(dict(work_dir=str(tmp_path), launcher='none'))
    cfg.experiment_name = Path(name).stem
    set_collate_functions(cfg)
    runner = build_runner(cfg)
    runner.train()
    assert runner.message_hub.get_scalar('train/meta_loss').current() > 0
    assert 0 <= runner.test()['anytime/last_top1'] <= 100


def shrink(node) -> None:
    """Sizes of hold-out and subset for the made data."""
    if not isinstance(node, dict):
        return
    if node.get('type') == 'dynnet.HoldoutSubset':
        node['size'] = 10
    if node.get('type') == 'dynnet.Subset':
        node['num'] = 20
    for value in node.values():
        shrink(value)


def test_optimizers_are_built_for_every_net():
    for name in one_per_model(L2W):
        if 'in1k' in name:
            continue
        cfg = load(name)
        model = build_model(cfg)
        parts = {k: v for k, v in cfg.optim_wrapper.items() if k != 'constructor'}
        wrappers = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(type=cfg.optim_wrapper.constructor, optim_wrapper_cfg=parts)
        )(model)
        assert isinstance(wrappers['model'].optimizer, torch.optim.SGD)
