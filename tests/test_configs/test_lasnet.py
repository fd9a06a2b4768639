"""LASNet's configs: published granularities and targets, recipe, detectors."""

import re
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope, init_default_scope

from dynnet.models.gates import measure_gates
from dynnet.registry import MODELS
from dynnet.utils.optional import is_available

from .common import configs_of, load, metafile_entry, read

CONFIGS = configs_of('lasnet')
IMAGENET = [name for name in CONFIGS if 'in1k' in name]
DETECTION = [n for n in CONFIGS if re.search('/las-.*(coco|cityscapes|ssdd)', n)]
needs_mmdet = pytest.mark.skipif(
    not is_available('mmdet'), reason='mmdet is not installed'
)
PUBLISHED = {
    'resnet50': (('1111', '4421', '8471'), (0.5, 0.6, 0.7)),
    'resnet101': (('1111', '4421', '8471'), (0.4, 0.5, 0.6, 0.7)),
    'regnety400mf': (('1111', '4421'), (0.5, 0.6, 0.7)),
    'regnety800mf': (('1111', '4421', '4471'), (0.5, 0.6, 0.7)),
}
# MACs with all masks 1 where S is 4-4-2-1; the published RegNets' are float32 sums,
# 8 more and 16 less.
DENSE = dict(
    resnet50=4093902848,
    resnet101=7809536000,
    regnety400mf=401856280,
    regnety800mf=833665616,
)


def test_all_published_settings_are_there():
    names = {Path(name).stem.removesuffix('_8xb64-100e_in1k') for name in IMAGENET}
    assert names == {
        f'las-{net}-s{s}-t{t}'
        for net, (sizes, targets) in PUBLISHED.items()
        for s in sizes
        for t in targets
    }


@pytest.mark.parametrize('name', [n for n in CONFIGS if '-s4' in n or '-s1' in n])
def test_name_says_granularity_and_target(name):
    if name in DETECTION and not is_available('mmdet'):
        pytest.skip('mmdet is not installed')
    match = re.search(r'-s(\d+)-t(0\.\d)_', name)
    model = read(name).model
    assert model.backbone.granularity == tuple(map(int, match[1]))
    assert model.budget.target == float(match[2])


@pytest.mark.parametrize('name', IMAGENET)
def test_recipe(name):
    cfg = read(name)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.04, momentum=0.9, nesterov=True, weight_decay=5e-5
    )
    # The gates of ResNets learn slower, those of RegNets do not.
    paramwise = cfg.optim_wrapper.get('paramwise_cfg')
    slow = paramwise and paramwise.custom_keys['.gate.'].lr_mult
    assert slow == (None if 'regnet' in name else 0.1)
    assert cfg.load_from == cfg.model.distillation.checkpoint == cfg.checkpoint
    assert cfg.model.budget.loss_weight == 10
    hooks = {h.targets: h for h in cfg.custom_hooks if 'targets' in h}
    assert hooks['*.tau']['values'] == (5.0, 0.1) and hooks['*.tau'].rule == 'exp'
    assert hooks['budget.progress'].end == 33


@pytest.mark.parametrize('net', DENSE)
def test_builds_and_costs(net):
    init_default_scope('mmpretrain')
    name = f'lasnet/las-{net}-s4421-t0.5_8xb64-100e_in1k.py'
    model = MODELS.build(dict(read(name).model)).to('meta').eval()
    with torch.no_grad(), measure_gates() as meter:
        model(torch.empty(1, 3, 224, 224, device='meta'))
    model.count_head(meter)
    assert meter.dense_macs == DENSE[net]
    parameters = sum(p.numel() for p in model.parameters())
    for other in (n for n in IMAGENET if f'-{net}-' in n):
        assert metafile_entry(other)['Metadata']['Parameters'] == parameters
    assert metafile_entry(name)['Metadata']['FLOPs'] == DENSE[net]


def test_gates_get_their_rate():
    from mmengine.optim import build_optim_wrapper

    init_default_scope('mmpretrain')
    cfg = read('lasnet/las-resnet50-s4421-t0.5_8xb64-100e_in1k.py')
    model = MODELS.build(dict(cfg.model))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    rates = {id(g['params'][0]): g['lr'] for g in optimizer.param_groups}
    for name, parameter in model.named_parameters():
        expected = 0.004 if '.gate.' in name else 0.04
        assert rates[id(parameter)] == pytest.approx(expected), name


def shrink(model: dict) -> dict:
    """The config's detector on a backbone that a test can afford."""
    model = dict(model)
    model['backbone'] = dict(
        model['backbone'],
        depth=50,
        base_channels=8,
        stem_channels=8,
        frozen_stages=-1,
        init_cfg=None,
    )
    model['neck'] = dict(model['neck'], in_channels=[32, 64, 128, 256])
    return model


@needs_mmdet
@pytest.mark.parametrize(
    'name', [n for n in DETECTION if 's4471' not in n or 'retina' in n]
)
def test_detectors_train_and_predict(name):
    from mmdet.testing import demo_mm_inputs

    torch.manual_seed(0)
    cfg = read(name)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(shrink(cfg.model))
        with_mask = 'mask-rcnn' in name
        batch = demo_mm_inputs(
            2, [(3, 90, 130), (3, 128, 64)], num_classes=2, with_mask=with_mask
        )
        for sample in batch['data_samples']:
            sample.gt_instances.labels.zero_()
        batch = model.data_preprocessor(batch, training=True)
        losses = model.loss(**batch)
        assert {'loss_macs', 'density', 'macs_ratio'} <= set(losses)
        assert 'loss_bounds' not in losses
        total, _ = model.parse_losses(losses)
        total.backward()
        assert model.backbone.layer1[0].gate.conv.weight.grad.abs().sum() > 0
        # The small one's temperature is annealed.
        tau = 1.0 if 'small' in name else 0.1
        assert all(b.gate.tau == tau for b in model.backbone.gated_blocks)
        model.eval()
        costs = {}
        for mode in ('simulate', 'execute'):
            model.mode = mode
            with torch.inference_mode():
                samples = model.predict(batch['inputs'], batch['data_samples'])
            assert all(0 < s.macs_ratio <= 1 for s in samples)
            costs[mode] = [float(s.macs) for s in samples]
        assert costs['simulate'] == costs['execute']


@needs_mmdet
def test_detector_refuses_bad_settings():
    from dynnet.utils.errors import ConfigError

    cfg = read('lasnet/las-retinanet-r101-s4421-t0.5_8xb2-12e_coco.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        with pytest.raises(ConfigError, match='not registered'):
            MODELS.build(dict(shrink(cfg.model), detector='mmdet.NoNet'))
        with pytest.raises(ConfigError, match='unknown keys in gates'):
            MODELS.build(dict(shrink(cfg.model), gates=dict(speed=1)))
        plain = dict(
            shrink(cfg.model), backbone=dict(type='ResNet', depth=50, base_channels=8)
        )
        with pytest.raises(ConfigError, match='needs a backbone with gates'):
            MODELS.build(plain)


def test_small_one_trains_and_tests(made_data, tmp_path, monkeypatch):
    """From a dense start with its teacher; then both modes; the hooks do their work."""
    from dynnet.utils.cli import build_runner, set_collate_functions

    init_default_scope('mmpretrain')
    name = 'lasnet/las-resnet50-small-s421-t0.5_1xb64-6e_fashion-mnist-10k.py'
    dense = read('lasnet/resnet50-small_1xb64-10e_fashion-mnist-10k.py')
    start = tmp_path / 'dense.pth'
    torch.save(dict(state_dict=MODELS.build(dict(dense.model)).state_dict()), start)
    monkeypatch.setenv('LAS_SMALL_CHECKPOINT', str(start))

    def runner(**options):
        cfg = load(name)
        for split in ('train', 'val', 'test'):
            loader = cfg[f'{split}_dataloader']
            loader.batch_size, loader.num_workers = 4, 0
        for loader in (
            cfg.train_dataloader.dataset.dataset,
            cfg.val_dataloader.dataset,
        ):
            loader.size = 10
        cfg.train_dataloader.dataset.num = 8
        cfg.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=2)
        cfg.param_scheduler = None
        cfg.work_dir, cfg.launcher = str(tmp_path / 'work'), 'none'
        cfg.merge_from_dict(options)
        cfg.experiment_name = f'las-{options.get("model.test_cfg.mode", "train")}'
        set_collate_functions(cfg)
        return build_runner(cfg)

    trained = runner()
    trained.train()
    taus = {b.gate.tau for b in trained.model.backbone.gated_blocks}
    assert len(taus) == 1  # of iteration 3 of 4
    assert taus.pop() == pytest.approx(5 * (0.1 / 5) ** 0.75)
    assert trained.model.budget.progress == pytest.approx(1 / 2)  # free from epoch 2
    found = {}
    for mode in ('simulate', 'execute'):
        checkpoint = str(tmp_path / 'work' / 'epoch_2.pth')
        options = {'model.test_cfg.mode': mode, 'model.distillation': None}
        found[mode] = runner(load_from=checkpoint, **options).test()
    assert found['execute'] == pytest.approx(found['simulate'])
    assert 0 < found['execute']['gates/macs_ratio'] <= 100
    assert {'gates/density', 'accuracy/top1'} <= set(found['execute'])
