"""tools/train.py and tools/test.py.

Where a new process is the point (kills, several processes, exit codes) there is one;
elsewhere the tools' own ``main`` runs in this process, which saves minutes of imports.
"""

import importlib.util
import itertools
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dynnet.utils.cli import run_main
from dynnet.utils.optional import is_available

pytestmark = pytest.mark.skipif(
    not is_available('mmpretrain'),
    reason='the tiny network is made of mmpretrain parts',
)
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'tests/data/configs/tiny_train.py'
HOOKS = '''
import os, signal
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

def kill(*args):
    os.kill(os.getpid(), signal.SIGKILL)

@HOOKS.register_module()
class Saboteur(Hook):
    """Ends the process in an iteration, or while an epoch is being saved."""

    def __init__(self, iteration=-1, epoch=-1):
        self.iteration, self.epoch = iteration, epoch

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == self.iteration:
            kill()

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.epoch == self.epoch:
            os.fsync = kill

@HOOKS.register_module()
class SpoilRank(Hook):
    """Makes the loss of rank 1 NaN."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 2 and get_rank() == 1:
            outputs['loss'] = torch.tensor(float('nan'))

@HOOKS.register_module()
class DumpRank(Hook):
    """Writes the weights of every rank."""

    def after_train(self, runner):
        path = f'{runner.work_dir}/rank{get_rank()}.pth'
        torch.save(getattr(runner.model, 'module', runner.model).state_dict(), path)
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Folder with the tiny data, and hooks that a config can import."""
    folder = tmp_path_factory.mktemp('tools')
    rng = np.random.default_rng(0)
    arrays = {}
    for split, num in [('train', 40), ('test', 16)]:
        arrays[f'y_{split}'] = labels = np.arange(num) % 4
        noise = rng.integers(0, 80, (num, 32, 32, 1))
        arrays[f'x_{split}'] = (noise + 40 * labels[:, None, None, None]).astype('u1')
    np.savez(folder / 'tiny.npz', **arrays)
    (folder / 'hooks_for_tests.py').write_text(HOOKS)
    return folder


def write_config(folder, name, text=''):
    """Write a config that changes the tiny one; return its path."""
    data = '\n'.join(
        f'{split}_dataloader = dict(dataset=dict(data_root={str(folder)!r}))'
        for split in ('train', 'val', 'test')
    )
    path = folder / f'{name}.py'
    path.write_text(f'_base_ = {str(CONFIG)!r}\n{data}\n{text}')
    return path


def load_tool(name):
    """Import a tool by its path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_names = (f'experiment_name=run_{number}' for number in itertools.count())


def run_here(tool, *arguments, options=()):
    """Run a tool in this process; return its exit code."""
    argv = [str(argument) for argument in arguments]
    # mmengine keeps one logger and message hub for each name in a process.
    argv += ['--cfg-options', next(_names), *options]
    return run_main(lambda: load_tool(tool).main(argv))


def run(folder, *command, processes=1):
    """Run a python file in new processes; return the exit code and the output."""
    start = [sys.executable]
    if processes > 1:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        start += ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}']
        start += [f'--master_port={port}']
    path = os.pathsep.join([str(ROOT), str(folder), os.environ.get('PYTHONPATH', '')])
    env = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    env['CUDA_VISIBLE_DEVICES'] = ''
    done = subprocess.run(
        start + [str(part) for part in command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout + done.stderr


def weights(path):
    checkpoint = torch.load(path, weights_only=False)
    return checkpoint.get('state_dict', checkpoint)


def assert_same(first, second, rtol=0, atol=0):
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=rtol, atol=atol)


@pytest.fixture(scope='module')
def whole(folder):
    """Work folder of an uninterrupted training."""
    config = write_config(folder, 'tiny')
    assert run_here('train', config, '--work-dir', folder / 'whole') == 0
    return folder / 'whole'


def test_training_leaves_log_config_and_checkpoints(whole):
    assert (whole / 'tiny.py').is_file()
    assert sorted(p.name for p in whole.glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    logs = list(whole.glob('*/*.log'))
    assert len(logs) == 1
    text = logs[0].read_text()
    assert 'Epoch(train) [3][5/5]' in text and 'eta:' in text


SABOTAGE = """
custom_imports = dict(imports=['dynnet', 'hooks_for_tests'])
custom_hooks = [dict(type='dynnet.EpochSeedHook'),
                dict(type='dynnet.NonFiniteLossHook'), dict(type='Saboteur', {})]
"""


@pytest.mark.parametrize(
    'saboteur', ['iteration=7', 'epoch=1'], ids=['mid-epoch', 'mid-save']
)
def test_a_killed_run_resumes_and_ends_the_same(folder, whole, saboteur):
    name = 'killed_' + saboteur.partition('=')[0]
    work_dir = folder / name
    config = write_config(folder, name, SABOTAGE.format(saboteur))
    code, output = run(folder, ROOT / 'tools/train.py', config, '--work-dir', work_dir)
    assert code == -signal.SIGKILL, output
    assert (work_dir / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    weights(work_dir / 'epoch_1.pth')
    half = work_dir / 'epoch_2.pth.dynnet-tmp'
    assert half.is_file() == (name == 'killed_epoch')
    config = folder / 'tiny.py'
    assert run_here('train', config, '--work-dir', work_dir, '--resume') == 0
    logs = ''.join(path.read_text() for path in work_dir.glob('*/*.log'))
    assert 'resumed epoch: 1, iter: 5' in logs
    # Equal up to rounding: threaded kernels differ in the last bit between processes.
    ours, reference = weights(work_dir / 'epoch_3.pth'), weights(whole / 'epoch_3.pth')
    assert_same(ours, reference, rtol=1e-4, atol=1e-6)
    assert not half.exists()


DUMP = """
custom_imports = dict(imports=['dynnet', 'hooks_for_tests'])
custom_hooks = [dict(type='DumpRank')]
train_dataloader['dataset']['pipeline'] = [dict(type='PackInputs')]
val_cfg = val_dataloader = val_evaluator = None
"""
HALF_BATCH = "train_dataloader['batch_size'] = 4\n"
NAN = "custom_hooks = [dict(type='SpoilRank'), dict(type='dynnet.NonFiniteLossHook')]\n"
# One step of SGD on a net with batch norm: the weights are linear in the gradient.
BN_NET = """
train_dataloader.update(batch_size=4, sampler=dict(shuffle=False))
train_dataloader['dataset']['indices'] = {indices}
model = dict(
    backbone=dict(_delete_=True, type='ResNet_CIFAR', depth=18, in_channels=1,
                  base_channels=4, stem_channels=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=4, in_channels=32,
              loss=dict(type='CrossEntropyLoss')))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1))
train_cfg = dict(max_epochs=1)
"""
# Several trainings in the two processes of one launch.
DRIVER = """
import os, sys
sys.path.insert(0, {tools!r})
from train import main
from dynnet.utils.errors import NonFiniteLossError
for name in ['two', 'both', 'nan']:
    try:
        main([f'{{name}}.py', '--work-dir', name, '--launcher', 'pytorch'])
    except NonFiniteLossError as error:
        print('rank', os.environ['RANK'], error, flush=True)
"""


@pytest.fixture(scope='module')
def two_processes(folder):
    """Output of trainings on two processes: ``two``, ``both`` (BN) and ``nan``."""
    write_config(folder, 'two', DUMP + HALF_BATCH)
    write_config(folder, 'both', DUMP + BN_NET.format(indices=8))
    write_config(folder, 'nan', DUMP + HALF_BATCH + NAN)
    driver = folder / 'driver.py'
    driver.write_text(DRIVER.format(tools=str(ROOT / 'tools')))
    code, output = run(folder, driver, processes=2)
    assert code == 0, output
    return output


@pytest.fixture
def one_process(folder, monkeypatch):
    """Train here; return the weights at the end."""
    monkeypatch.syspath_prepend(str(folder))

    def train(name, text):
        config = write_config(folder, name, text)
        assert run_here('train', config, '--work-dir', folder / name) == 0
        return weights(folder / name / 'rank0.pth')

    return train


def test_two_processes_equal_one(folder, two_processes, one_process):
    """With the same total batch, without batch norm and augmentation."""
    one = one_process('one', DUMP)
    ranks = [weights(folder / f'two/rank{rank}.pth') for rank in (0, 1)]
    assert_same(ranks[0], ranks[1])
    assert_same(one, ranks[0], rtol=1e-4, atol=1e-6)
    assert_same(ranks[0], weights(folder / 'two/epoch_3.pth'))


def test_batch_norm_gradients_are_the_mean_of_the_halves(
    folder, two_processes, one_process
):
    halves = [
        one_process(name, DUMP + BN_NET.format(indices=indices))
        for name, indices in [('even', [0, 2, 4, 6]), ('odd', [1, 3, 5, 7])]
    ]
    ranks = [weights(folder / f'both/rank{rank}.pth') for rank in (0, 1)]
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    parameters = [name for name in ranks[0] if not name.endswith(statistics)]
    assert 20 < len(parameters) < len(ranks[0])
    for name in parameters:
        mean = (halves[0][name] + halves[1][name]) / 2
        torch.testing.assert_close(ranks[0][name], ranks[1][name], rtol=0, atol=0)
        torch.testing.assert_close(ranks[0][name], mean, rtol=1e-5, atol=1e-6)
    differ = [(halves[0][name] - halves[1][name]).abs().max() for name in parameters]
    assert max(differ) > 1e-3, 'equal halves would make the mean meaningless'


def test_nan_on_one_rank_stops_both(folder, two_processes):
    stopped = 'training stopped in epoch 1, iteration 3: '
    assert f'rank 0 {stopped}a loss on another rank' in two_processes
    assert f'rank 1 {stopped}loss = nan' in two_processes
    assert not list((folder / 'nan').glob('*.pth'))


FOREIGN = """
_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['dynnet'])
custom_hooks = [dict(type='dynnet.NonFiniteLossHook')]
default_hooks = dict(checkpoint=dict(type='dynnet.AtomicCheckpointHook'))
train_dataloader = dict(
    batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='dynnet.Subset', num=8, dataset=dict(
        type='dynnet.NPZDataset', ann_file='tiny.npz', data_root='..',
        pipeline=[dict(type='PackInputs')])))
data_preprocessor = dict(mean=[127], std=[60], num_classes=4)
model = dict(
    type='ImageClassifier', backbone=dict(type='LeNet5', num_classes=4),
    head=dict(type='ClsHead', loss=dict(type='CrossEntropyLoss')))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
train_cfg = dict(by_epoch=True, max_epochs=1)
"""


def test_a_foreign_project_uses_our_parts(folder):
    """mmpretrain's bases, one import, our prefix; another folder, another process."""
    project = folder / 'foreign'
    project.mkdir()
    (project / 'net.py').write_text(FOREIGN)
    code, output = run(project, ROOT / 'tools/train.py', 'net.py')
    assert code == 0, output
    assert (project / 'work_dirs/net/epoch_1.pth').is_file()


def test_resume_takes_a_checkpoint(folder, whole):
    work_dir = folder / 'resumed'
    resume = ['--work-dir', work_dir, '--resume', whole / 'epoch_2.pth']
    assert run_here('train', folder / 'tiny.py', *resume) == 0
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_3.pth']
    assert_same(weights(work_dir / 'epoch_3.pth'), weights(whole / 'epoch_3.pth'))


def test_the_learning_rate_follows_the_batch(folder, whole):
    scaled = [folder / 'tiny.py', '--work-dir', folder / 'scaled', '--auto-scale-lr']
    options = ['auto_scale_lr.base_batch_size=32', 'train_cfg.max_epochs=1']
    assert run_here('train', *scaled, options=options) == 0
    log = next((folder / 'scaled').glob('*/*.log')).read_text()
    assert 'Epoch(train) [1][5/5]  lr: 1.2500e-02' in log, '0.05 * 8 / 32'


def test_metrics_predictions_and_pictures(folder, whole):
    test = ['test', folder / 'tiny.py', whole / 'epoch_3.pth']
    test += ['--work-dir', folder / 'tested']
    show = ['--out', folder / 'out.pkl', '--show-dir', folder / 'shown']
    assert run_here(*test, *show) == 0
    predictions = pickle.loads((folder / 'out.pkl').read_bytes())
    assert len(predictions) == 16 and predictions[0]['pred_score'].shape == (4,)
    assert len(list((folder / 'shown').rglob('*.png'))) == 16
    assert run_here(*test, '--out', folder / 'out.json') == 0
    right = [int(p['pred_label'] == p['gt_label']) for p in predictions]
    metrics = json.loads((folder / 'out.json').read_text())
    assert metrics['accuracy/top1'] == pytest.approx(100 * sum(right) / 16)


def error_line(text):
    """The one line that tells the user what to change."""
    lines = [line for line in text.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'Traceback' not in text, text
    return lines[0]


def test_amp_without_a_device_is_one_refusal(folder, whole):
    code, output = run(folder, ROOT / 'tools/train.py', 'tiny.py', '--amp')
    assert code == 1
    assert 'mixed precision (--amp, AmpOptimWrapper) needs' in error_line(output)


@pytest.mark.parametrize(
    ('arguments', 'options', 'message'),
    [
        (['--resume', 'gone.pth'], [], 'checkpoint gone.pth does not exist'),
        (['--launcher', 'pytorch'], [], '--launcher pytorch needs torchrun'),
        (['--launcher', 'slurm'], [], '--launcher slurm needs GPUs'),
        (
            ['--auto-scale-lr'],
            ['auto_scale_lr=None'],
            'no auto_scale_lr.base_batch_size',
        ),
        ([], ['train_dataloader.dataset.ann_file=no.npz'], 'no.npz does not exist'),
        (
            [],
            ['train_dataloader.num_workers=1', 'train_dataloader.persistent_workers=1'],
            'EpochSeedHook needs train_dataloader.persistent_workers=False',
        ),
    ],
)
def test_refusals_of_training(
    folder, whole, arguments, options, message, capsys, monkeypatch
):
    if torch.cuda.is_available() and '--launcher' in arguments:
        pytest.skip('about machines without GPUs')
    monkeypatch.delenv('RANK', raising=False)
    refused = ['--work-dir', folder / 'refused']
    code = run_here('train', folder / 'tiny.py', *refused, *arguments, options=options)
    assert code == 1
    assert message in error_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['gone.pth'], 'checkpoint gone.pth does not exist'),
        ([CONFIG, '--out', 'x.txt'], '--out x.txt must end with'),
        (
            [CONFIG, '--save-thresholds', 'x.json'],
            'needs .*EarlyExitTestLoop.* TestLoop',
        ),
    ],
)
def test_refusals_of_testing(folder, whole, arguments, message, capsys):
    assert run_here('test', folder / 'tiny.py', *arguments) == 1
    assert re.search(message, error_line(capsys.readouterr().err))


def test_a_missing_config_and_a_missing_hook(folder, whole, capsys):
    assert run_here('train', folder / 'none.py') == 1
    assert 'none.py does not exist' in error_line(capsys.readouterr().err)
    options = ['default_hooks.visualization=None']
    arguments = [folder / 'tiny.py', CONFIG, '--show-dir', 'x']
    assert run_here('test', *arguments, options=options) == 1
    assert 'no default_hooks.visualization' in error_line(capsys.readouterr().err)


def test_thresholds_are_handed_to_the_loop(folder, whole):
    config = write_config(
        folder, 'exits', "test_cfg = dict(type='dynnet.EarlyExitTestLoop')\n"
    )
    tool = load_tool('test')
    args = [str(config), str(CONFIG), '--save-thresholds', 'x.json']
    cfg = tool.merge_config(tool.parse_args(args))
    assert cfg.test_cfg.save_thresholds == 'x.json'


@pytest.mark.parametrize(
    ('default', 'expected'),
    [
        ('VisualizationHook', dict(enable=True, out_dir='x', interval=1)),
        ('mmdet.DetVisualizationHook', dict(draw=True, test_out_dir='x')),
    ],
)
def test_show_dir_speaks_the_dialect_of_the_toolbox(default, expected):
    from mmengine.config import Config

    cfg = Config(dict(default_hooks=dict(visualization=dict(type=default))))
    load_tool('test').set_show_dir(cfg, 'x')
    assert cfg.default_hooks.visualization == dict(type=default, **expected)


def test_an_error_from_a_worker_is_one_line(folder, whole, capsys):
    from PIL import Image

    for name in ('a', 'b', 'c', 'd'):
        (folder / 'pictures' / name).mkdir(parents=True)
        for number in range(2):
            Image.new('L', (32, 32)).save(folder / f'pictures/{name}/{number}.png')
    (folder / 'pictures/c/1.png').write_bytes(b'not a picture')
    config = write_config(
        folder,
        'pictures_config',
        'train_dataloader = dict(num_workers=2, dataset=dict(_delete_=True,\n'
        f"    type='dynnet.ImageFolder', data_root={str(folder / 'pictures')!r},\n"
        "    pipeline=[dict(type='dynnet.LoadImageStrict', color_type='grayscale'),\n"
        "              dict(type='PackInputs')]))\n",
    )
    assert run_here('train', config, '--work-dir', folder / 'worker') == 1
    line = error_line(capsys.readouterr().err)
    assert line.endswith('pictures/c/1.png is damaged or no picture')
    assert line.startswith('error: picture ')


def test_bugs_keep_their_traceback():
    def bug():
        return {}['missing']

    with pytest.raises(KeyError):
        run_main(bug)
