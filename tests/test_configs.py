"""Every config is what its name says, builds, and costs what the papers say."""

import copy
import functools
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.registry import init_default_scope

import dynnet  # noqa: F401
from dynnet.registry import DATASETS, MODELS
from dynnet.utils.cost import count_exit_costs

ROOT = Path(__file__).parents[1] / 'configs'
FOLDERS = ('ranet', 'msdnet', 'early_exit')
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for name in FOLDERS
    for path in (ROOT / name).glob('*.py')
)

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


def load(name: str) -> Config:
    return Config.fromfile(str(ROOT / name))


@functools.cache
def read(name: str) -> Config:
    """A config that nobody changes: reading all of them anew would take a minute."""
    return load(name)


def parse_name(name: str) -> re.Match | None:
    """{model}_{setting}_{gpus}xb{batch}-{epochs}e_{data}.py"""
    pattern = (
        r'(?P<model>[\w.-]+?)(_(?P<setting>[a-z-]+))?'
        r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<epochs>\d+)e'
        r'_(?P<data>[a-z0-9-]+?)(-holdout(?P<holdout>\d+)k)?\.py'
    )
    return re.fullmatch(pattern, Path(name).name)


def build_model(cfg: Config, device: str = 'cpu') -> torch.nn.Module:
    with torch.device(device):
        model = dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
        return MODELS.build(copy.deepcopy(model)).eval()


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


def metafile_entry(name: str) -> dict:
    """What the folder's metafile says about a config."""
    metafile = yaml.safe_load((ROOT / name).with_name('metafile.yml').read_text())
    entries = [m for m in metafile['Models'] if m['Config'] == f'configs/{name}']
    assert len(entries) == 1 and entries[0]['Name'] == Path(name).stem
    assert entries[0]['In Collection'] == metafile['Collections'][0]['Name']
    return entries[0]


def test_model_index_lists_all_metafiles():
    project = ROOT.parent
    index = yaml.safe_load((project / 'model-index.yml').read_text())
    metafiles = sorted(str(p.relative_to(project)) for p in ROOT.glob('*/metafile.yml'))
    assert sorted(index['Import']) == metafiles
    for path in metafiles:
        content = yaml.safe_load((project / path).read_text())
        assert all((project / m['Config']).is_file() for m in content['Models'])
        assert all((project / c['README']).is_file() for c in content['Collections'])


@pytest.mark.parametrize('name', CONFIGS)
def test_name_says_what_it_is(name):
    cfg = read(name)
    match = parse_name(name)
    if match is None:
        assert name == 'ranet/ranet-small_custom-folder.py'
        return
    total = int(match['gpus']) * int(match['batch'])
    assert cfg.train_dataloader.batch_size == int(match['batch'])
    assert cfg.auto_scale_lr.base_batch_size == total
    assert cfg.train_cfg.max_epochs == int(match['epochs'])
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


@pytest.mark.parametrize('name', [n for n in CONFIGS if 'small' in n])
def test_short_schedule_ends_at_zero(name):
    cfg = read(name)
    warm_up, cosine = cfg.param_scheduler
    assert cosine.T_max == cosine.end == cfg.train_cfg.max_epochs
    assert cosine.convert_to_iter_based and not warm_up.by_epoch


@pytest.mark.parametrize('name', CONFIGS[:1] + CONFIGS[-1:])
def test_log_shows_each_validation_as_it_is(name):
    pattern = read(name).log_processor.mean_pattern
    for key in ('loss', 'loss_exit1', 'time', 'data_time', 'grad_norm'):
        assert re.search(pattern, key), key
    for key in ('anytime/exit1_top1', 'anytime/mean_top1', 'budgeted/p10_macs', 'lr'):
        assert not re.search(pattern, key), key


# --- data: made, in the official layouts


def write_idx(path: Path, array: np.ndarray) -> None:
    magic = 2048 + array.ndim
    header = b''.join(int(n).to_bytes(4, 'big') for n in (magic, *array.shape))
    path.write_bytes(header + array.tobytes())


@pytest.fixture
def made_data(tmp_path, monkeypatch):
    """Training pictures are bright, test pictures dark; all are more red than blue."""
    rng = np.random.default_rng(0)

    def grey(n: int, low: int) -> np.ndarray:
        return rng.integers(low, low + 50, (n, 28, 28), dtype=np.uint8)

    def rgb(n: int, low: int, size: int = 32) -> np.ndarray:
        pictures = rng.integers(low, low + 20, (n, size, size, 3), dtype=np.uint8)
        return pictures + np.array([40, 20, 0], np.uint8)

    fashion = tmp_path / 'fashion'
    fashion.mkdir()
    write_idx(fashion / 'train-images-idx3-ubyte', grey(40, 200))
    write_idx(fashion / 'train-labels-idx1-ubyte', np.arange(40, dtype=np.uint8) % 10)
    write_idx(fashion / 't10k-images-idx3-ubyte', grey(20, 50))
    write_idx(fashion / 't10k-labels-idx1-ubyte', np.arange(20, dtype=np.uint8) % 10)
    monkeypatch.setenv('FASHION_MNIST_ROOT', str(fashion))

    npz = tmp_path / 'set.npz'
    arrays = dict(x_train=rgb(40, 150), x_test=rgb(20, 50))
    arrays |= dict(y_train=np.arange(40) % 10, y_test=np.arange(20) % 10)
    np.savez(npz, **arrays)
    monkeypatch.setenv('CIFAR10_NPZ', str(npz))

    for n, cls in ((10, 'CIFAR10'), (100, 'CIFAR100')):
        root = tmp_path / cls
        _make_cifar(root, n, rgb)
        monkeypatch.setenv(f'{cls}_ROOT', str(root))
        monkeypatch.setattr(
            f'mmpretrain.datasets.{cls}._check_integrity', lambda s: True
        )

    imagenet, folder = tmp_path / 'imagenet', tmp_path / 'folder'
    for split, n, low in (('train', 40, 150), ('val', 20, 50)):
        lines = []
        (imagenet / split).mkdir(parents=True)
        for i, picture in enumerate(rgb(n, low, 40)):
            cv2.imwrite(str(imagenet / split / f'{i}.png'), picture[..., ::-1])
            lines.append(f'{i}.png {i * 20}\n')
        (imagenet / 'meta').mkdir(exist_ok=True)
        (imagenet / 'meta' / f'{split}.txt').write_text(''.join(lines))
    monkeypatch.setenv('IMAGENET_ROOT', str(imagenet))
    for split, low in (('train', 150), ('val', 150), ('test', 50)):
        for i, picture in enumerate(rgb(8, low, 160)):
            path = folder / split / 'ab'[i % 2] / f'{i}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1])
    monkeypatch.setenv('CUSTOM_FOLDER_ROOT', str(folder))
    return tmp_path


def _make_cifar(root: Path, num_classes: int, rgb) -> None:
    if num_classes == 10:
        folder, splits = 'cifar-10-batches-py', {'test_batch': (20, 50)}
        splits |= {f'data_batch_{i}': (8, 150) for i in range(1, 6)}
        key, meta, names = 'labels', 'batches.meta', 'label_names'
    else:
        folder, splits = 'cifar-100-python', {'train': (40, 150), 'test': (20, 50)}
        key, meta, names = 'fine_labels', 'meta', 'fine_label_names'
    (root / folder).mkdir(parents=True)
    for split, (n, low) in splits.items():
        planes = rgb(n, low).transpose(0, 3, 1, 2).reshape(n, -1)
        content = {'data': planes, key: [i % num_classes for i in range(n)]}
        (root / folder / split).write_bytes(pickle.dumps(content))
    classes = {names: [str(i) for i in range(num_classes)]}
    (root / folder / meta).write_bytes(pickle.dumps(classes))


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


def test_dumped_config_is_the_same(tmp_path):
    """What a run leaves in its work folder can be run again."""
    for name in ('ranet/ranet-n64-4221_8xb32-90e_in1k-holdout50k.py', CONFIGS[0]):
        cfg = load(name)
        path = tmp_path / Path(name).name
        cfg.dump(str(path))
        assert Config.fromfile(str(path)).to_dict() == cfg.to_dict()
