"""Every early-exit config builds, costs what the papers say, and reads its data."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from dynnet.registry import DATASETS, MODELS
from dynnet.utils.cost import count_exit_costs

from .common import (
    build_model,
    configs_of,
    load,
    metafile_entry,
    parse_name,
    read,
)

CONFIGS = configs_of('ranet', 'msdnet', 'early_exit')

# Published FLOPs per exit (M) and parameters (M), by the published counters.
PUBLISHED = {
    'ranet-s123-even4 cifar10': ('13.44 28.91 42.28 47.98 58.28 61.27', 2.451),
    'ranet-s123-lg2 cifar10': ('8.36 21.77 32.84 41.52 53.23 58.92', 2.548),
    'ranet-s1233-even4 cifar10': (
        '15.81 31.28 44.66 50.36 60.65 63.65 90.17 94.90',
        3.262,
    ),
    'ranet-s1233-lg2 cifar10': (
        '10.74 24.14 35.22 43.90 55.60 61.30 105.56 117.27',
        3.968,
    ),
    'ranet-s1223-lg2 cifar10': (
        '10.73 24.13 35.21 43.89 93.01 114.61 163.94 175.65',
        5.094,
    ),
    'ranet-s123-lg2 cifar100': ('8.37 21.79 32.88 41.57 53.28 58.99', 2.617),
    'ranet-s1233-even4 cifar100': (
        '15.83 31.31 44.69 50.40 60.71 63.72 90.26 95.00',
        3.355,
    ),
    'ranet-n16-4211 in1k': (
        '168.07 520.47 731.89 903.79 1052.25 1118.80 1589.01 1680.98',
        87.973,
    ),
    'ranet-n32-4221 in1k': (
        '246.47 631.16 860.40 1041.14 1869.85 2160.38 2734.28 2828.31',
        131.124,
    ),
    'ranet-n64-4221 in1k': (
        '434.97 888.67 1153.36 1352.45 2279.91 2588.47 3235.52 3333.48',
        149.144,
    ),
    'msdnet-nb5-lin cifar10': ('6.85 14.33 27.50 41.67 58.42', 2.021),
    'msdnet-nb5-lin cifar100': ('6.86 14.35 27.54 41.71 58.48', 2.079),
    'msdnet-nb7-lin cifar100': (
        '6.86 14.35 27.29 48.45 76.43 108.85 137.28',
        3.967,
    ),
    'msdnet-nb7-even2 cifar100': (
        '15.14 25.51 37.10 46.33 57.34 66.96 75.94',
        3.068,
    ),
    'msdnet-nb4-even2-min cifar10': ('14.95 23.12 29.80 36.62', 1.309),
    'msdnet-step4 in1k': ('339.90 685.46 1008.16 1254.47 1360.53', 23.958),
    'msdnet-step6 in1k': ('514.66 1171.18 1844.52 2501.40 2742.06', 56.529),
    'msdnet-step7 in1k': ('615.69 1436.39 2283.21 2967.42 3253.79', 62.314),
}


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def input_shape(cfg: Config) -> tuple[int, int, int]:
    if 'in1k' in cfg.filename:
        return 3, 224, 224
    if 'custom-folder' in cfg.filename:
        return 3, 128, 128
    return cfg.model.backbone.get('in_channels', 3), 32, 32


def test_there_are_configs():
    names = {Path(name).name for name in CONFIGS}
    assert len(names) == len(CONFIGS) > 50
    covered = set()
    for name in CONFIGS:
        if match := parse_name(name):
            covered.add(f'{match["model"]} {match["data"]}')
    assert set(PUBLISHED) <= covered


def same_model(names: list[str]) -> list[list[str]]:
    """Group the configs by model: those of a hold-out build what the others build."""
    groups = {}
    for name in names:
        groups.setdefault(repr(read(name).model), []).append(name)
    return list(groups.values())


@pytest.mark.parametrize('names', same_model(CONFIGS), ids=lambda names: names[0])
def test_builds_and_costs(names):
    name = min(names, key=len)
    cfg = read(name)
    # Shapes are all that counting needs: on 'meta' the ImageNet nets take no memory.
    # (A StagedBackbone compares real outputs while it is built.)
    model = build_model(cfg, device='cpu' if 'early_exit/' in name else 'meta')
    costs = count_exit_costs(model, input_shape(cfg))
    assert costs.uncounted == []
    assert len(costs.macs) == model.num_exits > 1
    assert all(a < b for a, b in zip(costs.macs, costs.macs[1:]))
    match = parse_name(name)
    published = match and PUBLISHED.get(f'{match["model"]} {match["data"]}')
    if published:
        assert ' '.join(f'{f / 1e6:.2f}' for f in costs.published_flops) == published[0]
        total = sum(p.numel() for p in model.parameters())
        assert round(total / 1e6, 3) == published[1]
        assert costs.params[-1] == total
    for listed in (metafile_entry(name) for name in names):
        assert listed['Metadata'] == {
            'FLOPs': int(costs.macs[-1]),  # mm's word for multiply-accumulates
            'Parameters': costs.params[-1],
        }


@pytest.mark.parametrize('name', CONFIGS)
def test_hold_out(name):
    """Thresholds are solved on what training did not see, as the name says."""
    cfg = read(name)
    match = parse_name(name)
    if match is None:
        assert name == 'ranet/ranet-small_custom-folder.py'
        return
    train, calib = cfg.train_dataloader.dataset, cfg.test_cfg.get('calib_dataloader')
    if match['holdout']:
        assert train.type == calib.dataset.type == 'dynnet.HoldoutSubset'
        assert (train.part, calib.dataset.part) == ('train', 'holdout')
        assert train.size == calib.dataset.size == 1000 * int(match['holdout'])
        assert train.get('seed') == calib.dataset.get('seed')
    elif match['data'] in ('cifar10', 'cifar100', 'in1k'):
        assert calib is None
        assert train.type in ('CIFAR10', 'CIFAR100', 'ImageNet')
    else:
        assert calib is not None


@pytest.mark.parametrize('name', [n for n in CONFIGS if '300e' in n or '90e' in n])
def test_papers_recipe(name):
    cfg = read(name)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    epochs = cfg.train_cfg.max_epochs
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    from mmengine.registry import PARAM_SCHEDULERS

    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler, optimizer=optimizer))
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    if epochs == 300:
        expected = [0.1] * 150 + [0.01] * 75 + [0.001] * 75
    else:
        expected = [0.1] * 30 + [0.01] * 30 + [0.001] * 30
    assert np.allclose(rates, expected)


class Toy(BaseModel):
    """Nothing to learn; the schedules need an optimizer to set."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.weight.sum())


def test_short_schedule_warms_up_and_ends_at_zero(tmp_path):
    """The base gives no length: the schedule ends where the config's training ends."""
    cfg = read('ranet/ranet-small_1xb64-15e_fashion-mnist.py')
    schedulers = copy.deepcopy(cfg.param_scheduler)
    schedulers[0].end = 6
    rates = []

    class Record(Hook):
        def before_train_iter(self, runner, **kwargs):
            rates.append(runner.optim_wrapper.optimizer.param_groups[0]['lr'])

    Runner(
        model=Toy(),
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=1,
            dataset=[dict(inputs=i) for i in range(4)],
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=cfg.train_cfg.max_epochs),
        optim_wrapper=copy.deepcopy(cfg.optim_wrapper),
        param_scheduler=schedulers,
        custom_hooks=[Record()],
        default_hooks=dict(checkpoint=None, logger=None),
        experiment_name='schedule',
    ).train()
    assert len(rates) == 60
    for i, rate in enumerate(rates):
        warm = min(1.0, 0.1 + 0.9 * i / 5)
        cosine = (1 + np.cos(np.pi * i / 60)) / 2
        assert rate == pytest.approx(0.1 * warm * cosine, abs=1e-9), i


@pytest.mark.parametrize('name', CONFIGS[:1] + CONFIGS[-1:])
def test_log_shows_each_validation_as_it_is(name):
    pattern = read(name).log_processor.mean_pattern
    for key in ('loss', 'loss_exit1', 'time', 'data_time', 'grad_norm'):
        assert re.search(pattern, key), key
    for key in ('anytime/exit1_top1', 'anytime/mean_top1', 'budgeted/p10_macs', 'lr'):
        assert not re.search(pattern, key), key


def shrink(cfg: Config) -> Config:
    """The config for the made data: sizes of hold-out and subset fit it."""

    def visit(node) -> None:
        if isinstance(node, dict):
            if node.get('type') == 'dynnet.HoldoutSubset':
                node['size'] = 10
            if node.get('type') == 'dynnet.Subset':
                node['num'] = 20
            for value in node.values():
                visit(value)

    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader', 'test_cfg'):
        visit(cfg[key])
    return cfg


def one_per_dataset() -> list[str]:
    """One config for every set of loaders, by what follows the schedule's name."""
    chosen = {}
    for name in CONFIGS:
        chosen.setdefault(Path(name).stem.split('_')[-1], name)
    return sorted(chosen.values())


@pytest.mark.parametrize('name', one_per_dataset())
def test_loaders(name, made_data):
    cfg = shrink(load(name))
    loaders = {k: cfg[f'{k}_dataloader'].dataset for k in ('train', 'val', 'test')}
    if cfg.test_cfg.get('calib_dataloader'):
        loaders['calib'] = cfg.test_cfg.calib_dataloader.dataset
    sets = {key: DATASETS.build(dataset) for key, dataset in loaders.items()}
    preprocessor = MODELS.build(
        dict(type='mmpretrain.ClsDataPreprocessor', **cfg.data_preprocessor)
    )
    for key, dataset in sets.items():
        sample = dataset[0]
        assert sample['inputs'].shape == input_shape(cfg), key
        assert sample['inputs'].dtype == torch.uint8
        batch = dict(
            inputs=sample['inputs'][None], data_samples=[sample['data_samples']]
        )
        assert 0 <= int(sample['data_samples'].gt_label) < cfg.model.head.num_classes
        x = preprocessor(batch)['inputs'][0]
        if len(x) == 3:  # the made pictures' red is the largest, their blue the least
            raw = x * preprocessor.std + preprocessor.mean
            means = raw.flatten(1).mean(1)
            assert means[0] > means[1] > means[2], key
        # bright pictures are training data, dark ones test data
        inner = sample['inputs'].float()[..., 8:-8, 8:-8].mean()
        from_test = key == 'test' or (key == 'val' and 'calib' not in sets)
        assert (inner < 130) == from_test, key
        if key != 'train':
            assert torch.equal(dataset[1]['inputs'], dataset[1]['inputs']), key
    if 'calib' in sets and 'custom' not in name:
        train = pictures(sets['train'])
        calib = pictures(sets['calib'])
        assert len(calib) == 10 and not train & calib
        assert len(train) == (20 if '10k' in name else 30)


def pictures(dataset) -> set:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {
        info.get('img_path') or np.ascontiguousarray(info['img']).tobytes()
        for info in infos
    }


def test_fashion_mnist_test_transform_pads_evenly(made_data):
    cfg = load('ranet/ranet-small_1xb64-2e_fashion-mnist.py')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    picture = dataset[0]['inputs'][0]
    raw = torch.from_numpy(np.array(dataset.get_data_info(0)['img']))
    assert torch.equal(picture, torch.nn.functional.pad(raw, (2, 2, 2, 2)))


def test_published_calibration_reads_through_the_training_transform(made_data):
    name = 'ranet/ranet-s1233-even4{}_1xb64-300e_cifar10-holdout5k.py'
    clean, published = (load(name.format(s)) for s in ('', '_aug-calib'))
    pipeline = published.test_cfg.calib_dataloader.dataset.dataset.pipeline
    assert pipeline == published.train_dataloader.dataset.dataset.pipeline
    assert pipeline != clean.test_cfg.calib_dataloader.dataset.dataset.pipeline
    assert published.test_dataloader == clean.test_dataloader
    assert published.val_dataloader == clean.val_dataloader
    dataset = DATASETS.build(shrink(published).test_cfg.calib_dataloader.dataset)
    reads = [dataset[0]['inputs'] for _ in range(8)]
    assert any(not torch.equal(reads[0], read) for read in reads[1:])


@pytest.mark.parametrize(
    'name',
    [
        'ranet/ranet-small_1xb64-60e_cifar10-npz.py',
        'msdnet/msdnet-small_1xb64-15e_fashion-mnist.py',
        'ranet/ranet-small_custom-folder.py',
    ],
)
def test_trains_and_tests(name, made_data, tmp_path):
    """Two iterations on the made data, then anytime, budgeted and executed tests."""
    from dynnet.utils.cli import build_runner, set_collate_functions

    def runner(**options):
        cfg = shrink(load(name))
        cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), launcher='none'))
        cfg.train_dataloader.batch_size = 4
        for key in ('train', 'val', 'test'):
            cfg[f'{key}_dataloader'].num_workers = 0
        cfg.test_cfg.calib_dataloader.num_workers = 0
        cfg.param_scheduler = None
        cfg.train_cfg = dict(by_epoch=False, max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint.by_epoch = False
        cfg.optim_wrapper.optimizer.lr = 1e-3
        cfg.merge_from_dict(options)
        set_collate_functions(cfg)
        cfg.experiment_name = f'{Path(name).stem}-{len(options)}'
        return build_runner(cfg)

    runner().train()
    checkpoint = str(tmp_path / 'work' / 'iter_2.pth')
    thresholds = str(tmp_path / 'thresholds.json')
    metrics = runner(
        load_from=checkpoint, **{'test_cfg.save_thresholds': thresholds}
    ).test()
    exits = len([k for k in metrics if re.fullmatch(r'anytime/exit\d+_top1', k)])
    assert 0 <= metrics[f'anytime/exit{exits}_top1'] <= 100
    assert 'budgeted/p20_top1' in metrics
    executed = runner(
        load_from=checkpoint,
        **{
            'model.test_cfg.mode': 'execute',
            'model.test_cfg.thresholds': thresholds,
            'model.test_cfg.budget': metrics[f'anytime/exit{exits}_macs'],
        },
    ).test()
    assert executed['executed/mean_macs'] <= metrics[f'anytime/exit{exits}_macs']
