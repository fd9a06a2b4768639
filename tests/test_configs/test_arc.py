"""ARC's configs: detectors on mmrotate's bases, small ones that train and test here."""

import copy
import importlib.util
import multiprocessing.dummy
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch

pytest.importorskip('mmrotate')

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import get_installed_path

import dynnet  # noqa: F401
from dynnet.datasets.rotated import DOTADatasetStrict, parse_dota_file
from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.registry import MODELS
from dynnet.utils.cli import run_main

from .common import ROOT as CONFIG_ROOT
from .common import configs_of, load, read

CONFIGS = configs_of('arc')
DETECTORS = [n for n in CONFIGS if n.endswith('_arc-r50_1xb2-12e_dota.py')]
TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmrotate')


def load_tool(path: str):
    spec = importlib.util.spec_from_file_location(Path(path).stem, TOOLS / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_there_are_configs():
    assert len(DETECTORS) == 7
    assert len(CONFIGS) > 30


@pytest.mark.parametrize('name', CONFIGS)
def test_says_what_it_is(name):
    cfg = read(name)
    backbone = cfg.model.backbone
    depth = int(re.search(r'(?:arc-r|_r|resnet)(\d+)_', name).group(1))
    assert backbone.depth == depth
    is_arc = 'arc-r' in name.removeprefix('arc/')
    assert backbone.type == 'dynnet.ARCResNet' or not is_arc
    if not is_arc:
        assert 'ARC' not in backbone.type and 'kernel_number' not in backbone
        assert 'custom_keys' not in (cfg.optim_wrapper.get('paramwise_cfg') or {})
    elif '1xb2-' in name and 'mini' not in name:
        assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.5
        assert backbone.frozen_stages == 1 and backbone.norm_eval
        assert f'arc-r{depth}-n4' in backbone.init_cfg.checkpoint
    if name.endswith(('_dota.py', '_dota-ms.py', '_dotav15.py')):
        assert cfg.test_evaluator.merge_patches and cfg.test_evaluator.format_only
        assert cfg.test_dataloader.dataset.ann_file == ''
        root = 'data/split_ms_dota/' if '-ms' in name else 'data/split_ss_dota'
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            assert cfg[key].dataset.type.startswith('dynnet.DOTA')
            assert cfg[key].dataset.data_root.startswith(root)
    rotates = any(
        step.type == 'RandomRotate'
        for step in cfg.train_dataloader.dataset.get('pipeline', [])
    )
    assert rotates == ('_rr_' in name)


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_build_and_run_to_their_heads(name):
    cfg = load(name)
    cfg.model.backbone.update(kernel_number=1, init_cfg=None)
    model = MODELS.build(cfg.model).eval()
    convs = [m for m in model.modules() if isinstance(m, AdaptiveRotatedConv2d)]
    assert len(convs) == 13
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, 64, 64))
        head = getattr(model, 'bbox_head', None) or getattr(model, 'rpn_head', None)
        head = head or model.bbox_head_init
        outputs = head(features)
    assert all(torch.isfinite(level).all() for level in outputs[0])


def trainable(name: str) -> bool:
    """Whether a config names a detector that a CPU can train, each of them once."""
    return bool(re.search('arc-r50_(rr_)?1xb2-.*_(dota|hrsc|dior)[.]py', name)) and (
        'cfa' not in name
    )


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """A few made pictures in every layout, smaller than any real one."""
    root = tmp_path_factory.mktemp('scenes')
    maker = load_tool('dataset_converters/make_rotated_scenes.py')
    maker.make_set(root / 'dota', 'dota', dict(trainval=3), 96, objects=4)
    maker.make_set(root / 'hrsc', 'hrsc', dict(trainval=2, test=1), 96, objects=4)
    write_dior(root / 'dota/trainval', root / 'dior')
    return root


def write_dior(dota: Path, root: Path) -> None:
    """Lay three pictures in DOTA's form out as DIOR-R is, one in each split."""
    annotations = root / 'Annotations/Oriented Bounding Boxes'
    for folder in (root / 'ImageSets/Main', annotations):
        folder.mkdir(parents=True)
    splits = ('train', 'val', 'test')
    names = {'plane': 'airplane', 'large-vehicle': 'vehicle'}
    sides = ('left_top', 'right_top', 'right_bottom', 'left_bottom')
    keys = [f'{axis}_{side}' for side in sides for axis in 'xy']
    for path, split in zip(sorted((dota / 'labelTxt').iterdir()), splits):
        objects = ''
        for box in parse_dota_file(path):
            places = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(keys, box.corners))
            name = names.get(box.class_name, box.class_name)
            objects += (
                f'<object><name>{name}</name><robndbox>{places}</robndbox></object>'
            )
        size = '<size><width>96</width><height>96</height></size>'
        xml = f'<annotation>{size}{objects}</annotation>'
        (annotations / f'{path.stem}.xml').write_text(xml)
        (root / f'ImageSets/Main/{split}.txt').write_text(f'{path.stem}\n')
        picture = mmcv.imread(str(dota / f'images/{path.stem}.png'))
        folder = 'JPEGImages-test' if split == 'test' else 'JPEGImages-trainval'
        mmcv.imwrite(picture, str(root / f'{folder}/{path.stem}.jpg'))


@pytest.fixture
def threads_evaluate(monkeypatch):
    """Spare four new processes, which mmrotate starts for every evaluation."""
    from mmrotate.evaluation.functional import mean_ap

    monkeypatch.setattr(mean_ap, 'get_context', lambda method: multiprocessing.dummy)


# One stage and two, on every kind of set; the others are like them, and slower.
QUICK = 'rotated-retinanet|oriented-rcnn.*12e'


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if re.search(QUICK, name) else pytest.mark.slow)
        for name in filter(trainable, CONFIGS)
    ],
)
def test_detectors_train_and_validate(name, scenes, tmp_path, threads_evaluate):
    """An epoch on made pictures, with everything but the sizes as it is."""
    cfg = load(name)
    cfg.work_dir = str(tmp_path)
    cfg.model.backbone.update(
        kernel_number=2, init_cfg=None, base_channels=8, stem_channels=8
    )
    cfg.model.neck.in_channels = [32, 64, 128, 256]
    for proposals in (
        cfg.model.train_cfg.get('rpn_proposal'),
        cfg.model.test_cfg.get('rpn'),
    ):
        if proposals is not None:
            proposals.update(nms_pre=20, max_per_img=20)
    assert not cfg.train_dataloader.persistent_workers
    layout = Path(name).stem.rpartition('_')[2]
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            dataset.data_root = f'{scenes / layout}/'
            if layout == 'dota':
                dataset.update(
                    ann_file='trainval/labelTxt/',
                    data_prefix=dict(img_path='trainval/images/'),
                )
            for step in dataset.pipeline:
                if step.type == 'mmdet.Resize':
                    step.scale = (96, 96)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    runner = Runner.from_cfg(cfg)
    conv = runner.model.backbone.layer4[0].conv2
    before = copy.deepcopy(conv.state_dict())
    runner.train()
    assert runner.iter >= 1
    assert 'val/dota/AP50' in runner.message_hub.log_scalars
    after = conv.state_dict()
    for key in ('weight', 'routing.angle.weight', 'routing.gate.weight'):
        assert torch.isfinite(after[key]).all()
        assert not torch.equal(before[key], after[key])


def test_cfa_ends_on_a_cpu_before_the_first_iteration(scenes, tmp_path, capfd):
    """Its ops have no CPU kernel; the command line says so in one line."""
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    data = 'train_dataloader.dataset'
    command = [
        str(CONFIG_ROOT / 'arc/cfa-qbox_arc-r50_1xb2-12e_dota.py'),
        f'--work-dir={tmp_path}',
        '--cfg-options',
        f'{data}.data_root={scenes}/dota/trainval/',
        f'{data}.ann_file=labelTxt/',
        f'{data}.data_prefix.img_path=images/',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'model.backbone.kernel_number=1',
    ]
    assert run_main(lambda: load_tool('train.py').main(command)) == 1
    errors = capfd.readouterr().err.strip().splitlines()
    assert errors[-1] == (
        'error: CFA needs convex_iou, convex_giou and min_area_polygons, which mmcv '
        'has for GPUs only: this cannot run on a CPU'
    )
    assert not any('Traceback' in line or 'Epoch(train)' in line for line in errors)


# --- from made scenes to the zip


def split(images: Path, annotations: Path, out: Path, rates: list[float]) -> None:
    """Cut pictures into patches with mmrotate's own tool."""
    package = Path(get_installed_path('mmrotate'))
    tool = package / '.mim/tools/data/dota/split/img_split.py'
    command = [
        sys.executable,
        tool,
        '--nproc',
        '1',
        '--img-dirs',
        images,
        '--ann-dirs',
        annotations,
        '--sizes',
        '256',
        '--gaps',
        '96',
        '--rates',
        *map(str, rates),
        '--save-ext',
        '.png',
        '--save-dir',
        out,
    ]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


@pytest.mark.parametrize('rates', [[1.0], [0.5, 1.0]])
def test_patches_merge_into_the_known_boxes(rates, tmp_path):
    """Every made box comes back once, at its place, whatever patches saw it."""
    from mmcv.ops import box_iou_rotated
    from mmrotate.evaluation.metrics import DOTAMetric
    from mmrotate.structures import qbox2rbox

    maker = load_tool('dataset_converters/make_rotated_scenes.py')
    maker.make_set(tmp_path / 'made', 'dota', dict(val=2), 700, objects=60)
    made = tmp_path / 'made/val'
    split(made / 'images', made / 'labelTxt', tmp_path / 'patches', rates)
    dataset = DOTADatasetStrict(
        data_root=str(tmp_path / 'patches'),
        ann_file='annfiles/',
        data_prefix=dict(img_path='images/'),
    )
    assert len(dataset) > 8 * len(rates)
    metric = DOTAMetric(
        format_only=True, merge_patches=True, outfile_prefix=str(tmp_path / 'Task1')
    )
    metric.dataset_meta = dataset.metainfo
    for sample in dataset:
        boxes = torch.tensor([i['bbox'] for i in sample['instances']]).view(-1, 8)
        labels = torch.tensor([i['bbox_label'] for i in sample['instances']])
        prediction = dict(
            bboxes=qbox2rbox(boxes), labels=labels.long(), scores=torch.ones(len(boxes))
        )
        empty = dict(bboxes=torch.zeros(0, 5), labels=torch.zeros(0))
        metric.process(
            {},
            [
                dict(
                    img_id=sample['img_id'],
                    pred_instances=prediction,
                    gt_instances=empty,
                    ignored_instances=empty,
                )
            ],
        )
    metric.evaluate(len(dataset))

    found: dict = {}
    with zipfile.ZipFile(tmp_path / 'Task1/Task1.zip') as file:
        names = {f'Task1_{c}.txt' for c in dataset.metainfo['classes']}
        assert set(file.namelist()) == names
        for name in file.namelist():
            for line in file.read(name).decode().splitlines():
                image, score, *corners = line.split()
                key = image, name[len('Task1_') : -len('.txt')]
                assert float(score) == 1 and len(corners) == 8
                found.setdefault(key, []).append([float(c) for c in corners])
    known: dict = {}
    for path in sorted((made / 'labelTxt').iterdir()):
        for box in parse_dota_file(path):
            known.setdefault((path.stem, box.class_name), []).append(box.corners)
    assert sum(map(len, known.values())) > 40
    assert found.keys() == known.keys()
    for key, boxes in known.items():
        theirs = qbox2rbox(torch.tensor(found[key]))
        ours = qbox2rbox(torch.tensor(boxes))
        assert len(theirs) == len(ours), key
        assert box_iou_rotated(ours, theirs).amax(1).min() > 0.9


def shrink(cfg: Config, root: Path, work_dir: Path) -> Config:
    """One epoch on a few small pictures."""
    cfg.work_dir = str(work_dir)
    cfg.train_cfg.max_epochs = 1
    cfg.train_cfg.val_interval = 10
    cfg.train_dataloader.batch_size = 2
    cfg.model.backbone.update(kernel_number=2, base_channels=8, stem_channels=8)
    cfg.model.neck.in_channels = [8, 16, 32, 64]
    for key, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{key}_dataloader'].dataset
        dataset.data_root = f'{root}/'
        dataset.ann_file = f'{part}/labelTxt/'
        dataset.data_prefix = dict(img_path=f'{part}/images/')
        dataset.metainfo = dict(classes=tuple(DOTADatasetStrict.METAINFO['classes']))
        for step in dataset.pipeline:
            if step.type == 'mmdet.Resize':
                step.scale = (96, 96)
    cfg.model.bbox_head.num_classes = 15
    cfg.test_evaluator = dict(
        type='DOTAMetric', format_only=True, outfile_prefix=f'{work_dir}/boxes'
    )
    return cfg


def test_small_config_trains_resumes_and_tests(tmp_path, threads_evaluate):
    maker = load_tool('dataset_converters/make_rotated_scenes.py')
    maker.make_set(tmp_path / 'made', 'dota', dict(train=4, val=2), 96, objects=4)
    name = 'arc/rotated-retinanet-le90_arc-r18_1xb4-12e_ssdd-tiny.py'
    cfg = shrink(load(name), tmp_path / 'made', tmp_path / 'work')
    runner = Runner.from_cfg(copy.deepcopy(cfg))
    before = copy.deepcopy(runner.model.backbone.layer4[0].conv2.state_dict())
    runner.train()
    after = runner.model.backbone.layer4[0].conv2.state_dict()
    assert not torch.equal(before['weight'], after['weight'])
    assert not torch.equal(
        before['routing.angle.weight'], after['routing.angle.weight']
    )
    checkpoint = tmp_path / 'work/epoch_1.pth'
    assert checkpoint.is_file()

    cfg.load_from, cfg.resume, cfg.train_cfg.max_epochs = str(checkpoint), True, 2
    cfg.experiment_name = 'resumed'
    again = Runner.from_cfg(cfg)
    again.train()
    assert again.epoch == 2 and again.iter == 4
    again.test()
    assert (tmp_path / 'work/boxes.bbox.json').is_file()
    inference_finds_what_testing_finds(again, cfg, tmp_path)
    weights = [
        p.detach().numpy() for p in again.model.backbone.parameters() if p.numel()
    ]
    assert all(np.isfinite(w).all() for w in weights)


def inference_finds_what_testing_finds(runner: Runner, cfg: Config, folder: Path):
    from dynnet.apis.rotated_inferencer import RotatedInferencer

    cfg.load_from, cfg.model.test_cfg.score_thr = None, 0.0
    cfg.model.test_cfg.max_per_img = 5
    detect = RotatedInferencer(cfg, folder / 'work/epoch_2.pth', 'cpu', score_thr=0)
    picture = sorted((folder / 'made/val/images').iterdir())[0]
    (found,) = detect([picture], show_dir=folder / 'shown')
    assert (folder / 'shown' / picture.name).is_file()
    assert found.corners.shape == (len(found.scores), 4, 2) and len(found.scores) == 5
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.class_names) <= set(DOTADatasetStrict.METAINFO['classes'])
