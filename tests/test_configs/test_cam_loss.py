"""CAM-loss: what its configs compare, and the data that they read."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.analysis import get_model_complexity_info
from mmengine.registry import init_default_scope

from dynnet.engine.schedules import scheduled_value
from dynnet.models.classifiers import add_cam_loss
from dynnet.registry import DATASETS
from dynnet.utils.errors import DataError

from .common import build_model, configs_of, load, metafile_entry, parse_name, read

CONFIGS = configs_of('cam_loss')
WITH_CAM = [n for n in CONFIGS if 'CAMLinearClsHead' in str(read(n).model.head.type)]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')


def one_per_model() -> list[list[str]]:
    groups = {}
    for name in CONFIGS:
        groups.setdefault(repr(read(name).model), []).append(name)
    return list(groups.values())


@pytest.mark.parametrize('names', one_per_model(), ids=lambda names: names[0])
def test_builds_and_costs(names):
    cfg = copy.deepcopy(read(names[0]))
    if 'teacher' in cfg.model:  # its weights are not needed before it teaches
        assert cfg.model.teacher_ckpt.endswith('.pth')
    model = build_model(cfg)
    for name in names:
        metadata = metafile_entry(name)['Metadata']
        assert metadata['Parameters'] == sum(p.numel() for p in model.parameters())
        assert model.head.fc.out_features == cfg.data_preprocessor.num_classes
    if 'CIFAR' in cfg.model.backbone.type and cfg.model.backbone.depth < 60:
        channels = cfg.model.backbone.get('in_channels', 3)
        x = torch.zeros(1, channels, 32, 32)
        info = get_model_complexity_info(
            model, inputs=(x,), show_table=False, show_arch=False
        )
        assert metadata['FLOPs'] == info['flops']


def test_teacher_needs_its_checkpoint():
    for name in CONFIGS:
        model = read(name).model
        if 'match' in name or '_kd_' in name:
            assert model.type == 'dynnet.CAMDistillClassifier'
            assert model.teacher.head.num_classes == model.head.num_classes


def baseline(name: str) -> str:
    """The config that differs by CAM-loss alone."""
    return name.replace('_cam_', '_').replace('_cam-', '_')


@pytest.mark.parametrize('name', WITH_CAM)
def test_cam_loss_is_all_that_differs(name):
    ours, plain = read(name).to_dict(), read(baseline(name)).to_dict()
    hook = ours['default_hooks'].pop('cam_weight')
    model = add_cam_loss(plain['model'])
    assert ours['model'].pop('neck') is None
    assert model['head'].pop('loss_cam') == dict(type='dynnet.CAMLoss')  # the default
    assert ours['model'] == model
    assert {k: v for k, v in ours.items() if k != 'model'} == {
        k: v for k, v in plain.items() if k != 'model'
    }
    # alpha is 0 for a quarter of the epochs, then 3.
    epochs = ours['train_cfg']['max_epochs']
    values = [
        scheduled_value('linear', e, hook['begin'], hook['end'], hook['values'])
        for e in range(epochs)
    ]
    assert values == [0.0] * (epochs // 4) + [3.0] * (epochs - epochs // 4)
    assert hook['targets'] == 'head.loss_cam.loss_weight'


def test_there_is_a_baseline_for_everything():
    assert len(WITH_CAM) >= 15
    assert {parse_name(n)['data'] for n in WITH_CAM} >= {
        'cifar10',
        'cifar100',
        'in1k',
        'cub',
        'mini-imagenet',
        'cifar10-npz',
        'cifar10-npz-first5',
        'cifar10-npz-base6',
        'fashion-mnist-10k',
    }


def test_fine_tuning_starts_from_the_backbone_alone(tmp_path, monkeypatch):
    path = tmp_path / 'first5.pth'
    cam = read('cam_loss/resnet20_cam_1xb64-12e_cifar10-npz-first5.py')
    trained = build_model(cam)
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter)
    torch.save(dict(state_dict=trained.state_dict()), path)
    monkeypatch.setenv('CAM_CHECKPOINT', str(path))
    model = build_model(
        load('cam_loss/resnet20_transfer_1xb64-12e_cifar10-npz-last5.py')
    )
    model.init_weights()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, trained.backbone.state_dict()[name]), name
    assert not torch.equal(model.head.fc.weight, trained.head.fc.weight)


# --- data: made, in the official layouts


def shrink(node) -> None:
    if isinstance(node, dict):
        if node.get('type') == 'dynnet.HoldoutSubset':
            node['size'] = 60
        if node.get('type') == 'dynnet.Subset':
            node['num'] = 20
        for value in node.values():
            shrink(value)


@pytest.fixture
def npz(tmp_path, monkeypatch):
    """So many pictures that every class is on both sides of a hold-out."""
    rng = np.random.default_rng(0)
    path = tmp_path / 'many.npz'
    arrays = {}
    for split, n, low in (('train', 200, 150), ('test', 40, 50)):
        arrays[f'x_{split}'] = rng.integers(low, low + 50, (n, 32, 32, 3), np.uint8)
        arrays[f'y_{split}'] = np.arange(n) % 10
    np.savez(path, **arrays)
    monkeypatch.setenv('CIFAR10_NPZ', str(path))


def build_sets(name: str) -> dict:
    cfg = load(name)
    sets = {}
    for key in ('train', 'val', 'test'):
        loader = cfg[f'{key}_dataloader']
        if loader is not None:
            shrink(loader)
            sets[key] = DATASETS.build(loader.dataset)
    return sets


def labels_of(dataset) -> set[int]:
    return {int(dataset[i]['data_samples'].gt_label) for i in range(len(dataset))}


def brightness(dataset) -> float:
    return float(dataset[0]['inputs'].float()[..., 8:-8, 8:-8].mean())


@pytest.mark.parametrize(
    ('data', 'classes'), [('first5', range(5)), ('last5', range(5, 10))]
)
def test_halves(data, classes, npz):
    name = next(n for n in CONFIGS if n.endswith(f'npz-{data}.py'))
    sets = build_sets(name)
    for key, dataset in sets.items():
        assert labels_of(dataset) <= set(range(5)), key
        old = dataset.dataset.get_gt_labels()[dataset.indices]
        assert set(old) <= set(classes), key
        assert (brightness(dataset) < 130) == (key == 'test')
    assert labels_of(sets['test']) == set(range(5))


def test_base_and_novel_classes(npz):
    sets = build_sets('cam_loss/resnet20_few-shot_1xb64-12e_cifar10-npz-base6.py')
    novel = sets['test'].dataset.get_gt_labels()[sets['test'].indices]
    assert set(novel) == {6, 7, 8, 9} and labels_of(sets['test']) == {0, 1, 2, 3}
    base = sets['train'].dataset.get_gt_labels()[sets['train'].indices]
    assert set(base) <= set(range(6))


def test_cutout_erases(npz):
    train = build_sets('cam_loss/resnet20_cutout_1xb64-12e_cifar10-npz.py')['train']
    np.random.seed(0)
    black = [(train[0]['inputs'] == 0).all(0).sum() for _ in range(12)]
    plain = build_sets('cam_loss/resnet20_1xb64-12e_cifar10-npz.py')['train']
    padding = [(plain[0]['inputs'] == 0).all(0).sum() for _ in range(12)]
    assert max(black) > 200 > max(padding) - 50


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 48, 3), 99, np.uint8))


def make_cub(root: Path) -> None:
    pictures = [(i, c, i % 2) for i, c in enumerate((1, 1, 2, 2, 200, 200), start=1)]
    for i, c, _ in pictures:
        draw(root / f'images/c{c}/{i}.jpg')
    for name, text in (
        ('images', [f'{i} c{c}/{i}.jpg' for i, c, _ in pictures]),
        ('image_class_labels', [f'{i} {c}' for i, c, _ in pictures]),
        ('train_test_split', [f'{i} {train}' for i, _, train in pictures]),
    ):
        (root / f'{name}.txt').write_text('\n'.join(text) + '\n')


def make_cars(root: Path) -> None:
    from mat4py import savemat

    names = [f'car_ims/{i}.jpg' for i in range(4)]
    for name in names:
        draw(root / name)
    annotations = dict(
        relative_im_path=names, **{'class': [1, 196, 1, 196]}, test=[0, 0, 1, 1]
    )
    savemat(str(root / 'cars_annos.mat'), dict(annotations=annotations))


def make_aircraft(root: Path) -> None:
    (root / 'data').mkdir(parents=True)
    for split, variants in (
        ('trainval', ['707-320', 'Yak-42']),
        ('test', ['DC-3', 'A380']),
    ):
        lines = []
        for i, variant in enumerate(variants):
            draw(root / f'data/images/{split}{i}.jpg')
            lines.append(f'{split}{i} {variant}\n')
        (root / f'data/images_variant_{split}.txt').write_text(''.join(lines))


def make_flowers(root: Path) -> None:
    from mat4py import savemat

    for i in range(1, 5):
        draw(root / f'jpg/image_{i:05d}.jpg')
    savemat(str(root / 'imagelabels.mat'), dict(labels=[1, 102, 1, 102]))
    savemat(str(root / 'setid.mat'), dict(trnid=[1, 1], valid=[2, 2], tstid=[3, 4]))


def make_dtd(root: Path) -> None:
    from mat4py import savemat

    names = [f'banded/{i}.jpg' for i in range(4)]
    for name in names:
        draw(root / 'images' / name)
    (root / 'imdb').mkdir()
    images = dict(name=names, **{'class': [1, 47, 1, 47]}, set=[1, 2, 3, 3])
    savemat(str(root / 'imdb/imdb.mat'), dict(images=images))


@pytest.mark.parametrize(
    ('data', 'env', 'make'),
    [
        ('cub', 'CUB_ROOT', make_cub),
        ('stanford-cars', 'STANFORD_CARS_ROOT', make_cars),
        ('aircraft', 'AIRCRAFT_ROOT', make_aircraft),
        ('flowers102', 'FLOWERS102_ROOT', make_flowers),
        ('dtd', 'DTD_ROOT', make_dtd),
    ],
)
def test_transfer_sets(data, env, make, tmp_path, monkeypatch):
    monkeypatch.setenv(env, str(tmp_path))
    make(tmp_path)
    name = f'cam_loss/resnet50_transfer_1xb32-100e_{data}.py'
    sets, num_classes = build_sets(name), read(name).model.head.num_classes
    paths = {}
    for key in ('train', 'test'):
        assert sets[key][0]['inputs'].shape == (3, 224, 224)
        assert max(labels_of(sets[key])) < num_classes
        infos = [sets[key].get_data_info(i) for i in range(len(sets[key]))]
        paths[key] = {info['img_path'] for info in infos}
    assert paths['train'] and paths['test'] and not paths['train'] & paths['test']


def test_class_lists_split_cub(tmp_path, monkeypatch):
    monkeypatch.setenv('CUB_ROOT', str(tmp_path))
    make_cub(tmp_path)
    base, novel = tmp_path / 'base.txt', tmp_path / 'novel.txt'
    monkeypatch.setenv('CUB_BASE_LIST', str(base))
    monkeypatch.setenv('CUB_NOVEL_LIST', str(novel))
    name = 'cam_loss/resnet18_cam-few-shot_1xb32-100e_cub.py'
    with pytest.raises(DataError, match='base.txt does not exist'):
        build_sets(name)
    base.write_text('001.Black_footed_Albatross\n200.Common_Yellowthroat\n')
    novel.write_text('Laysan_Albatross\n')
    sets = build_sets(name)
    assert labels_of(sets['train']) == labels_of(sets['val']) == {0, 1}
    assert len(sets['train']) == len(sets['val']) == 2
    assert len(sets['test']) == 2 and labels_of(sets['test']) == {0}


def test_class_lists_split_mini_imagenet(tmp_path, monkeypatch):
    for wnid in ('n01', 'n02', 'n03'):
        for i in range(2):
            draw(tmp_path / f'images/{wnid}/{i}.jpg')
    (tmp_path / 'base.txt').write_text('n03\nn01\n')
    (tmp_path / 'novel.txt').write_text('n02\n')
    monkeypatch.setenv('MINI_IMAGENET_ROOT', str(tmp_path))
    for part in ('base', 'novel'):
        monkeypatch.setenv(
            f'MINI_IMAGENET_{part.upper()}_LIST', str(tmp_path / f'{part}.txt')
        )
    sets = build_sets('cam_loss/resnet18_few-shot_1xb32-100e_mini-imagenet.py')
    assert sets['train'].metainfo['classes'] == ('n03', 'n01')
    assert len(sets['train']) == 4 and len(sets['test']) == 2
    assert labels_of(sets['test']) == {0}
