"""The converters' and the freezer's command lines, on made checkpoints."""

import importlib.util
import itertools
import os
import runpy
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config

from dynnet.apis.inference import init_model
from dynnet.utils.checkpoint import load_checkpoint, save_checkpoint
from dynnet.utils.cli import run_main

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / 'tools' / 'model_converters'
NETS = {'ranet': 'ranet-123', 'msdnet': 'msdnet-max'}
_names = (f'frozen_{number}' for number in itertools.count())


class Attack:
    """A pickle that makes a file where it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


def run(monkeypatch, tool, *arguments):
    """Run a tool as a command; return its exit code."""
    path = TOOLS / f'{tool}.py'
    monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
    with pytest.raises(SystemExit) as exit:
        runpy.run_path(str(path), run_name='__main__')
    return exit.value.code


@pytest.fixture(params=NETS)
def kind(request):
    return request.param


@pytest.fixture
def config(net_config, tmp_path, kind):
    cfg = dict(default_scope='mmpretrain', model=net_config(NETS[kind]))
    path = tmp_path / 'config.py'
    Config(cfg).dump(path)
    return path


@pytest.fixture
def published(shared_net, kind):
    """Content of a file as the papers' scripts write it."""
    weights = {}
    for name, value in shared_net(NETS[kind]).state_dict().items():
        name = name.replace('head.exits.', 'classifier.').removeprefix('backbone.')
        weights['module.' + name] = value.clone()
    content = dict(epoch=299, arch=kind, state_dict=weights, best_prec1=93.5)
    if kind == 'msdnet':
        content['state_dict'] = {n[len('module.') :]: v for n, v in weights.items()}
        content['meta_state_dict'] = {'output_layer.fc.weight': torch.ones(5, 500)}
        content['is_best'] = True
    return dict(content, optimizer=dict(state={}, param_groups=[dict(lr=0.1)]))


@pytest.fixture
def convert(monkeypatch, tmp_path, config, kind):
    """Convert what is written to ``source``; return exit code and target."""
    source, target = tmp_path / 'model_best.pth.tar', tmp_path / 'out' / 'net.pth'

    def call(content=None):
        if content is not None:
            torch.save(content, source)
        arguments = (source, target, '--config', config)
        return run(monkeypatch, f'{kind}_to_dynnet', *arguments), source, target

    return call


def test_round_trip(convert, published, config, shared_net, kind, pictures, capsys):
    code, source, target = convert(published)
    assert code == 0
    out = capsys.readouterr().out
    total = len(published['state_dict'])
    assert f'{target}: {total} tensors, none missing, none unused' in out
    left = 'arch, best_prec1, epoch, optimizer'
    if kind == 'msdnet':
        left = 'arch, best_prec1, epoch, is_best, meta_state_dict, optimizer'
    assert out.splitlines()[-1] == f'not converted: {left}'
    assert load_checkpoint(target)['meta'] == dict(converted_from=source.name)
    converted = init_model(config, target, 'cpu')
    with torch.no_grad():
        full = shared_net(NETS[kind])(pictures[:3])
        assert torch.equal(converted(pictures[:3]), full)


def refused(convert, content, capsys):
    """The one line that a refusal says; nothing is written."""
    code, source, target = convert(content)
    out, err = capsys.readouterr()
    assert code == 1 and not target.exists()
    assert len(err.splitlines()) == 1
    prefix = f'error: {source}'
    assert err.startswith(prefix)
    return err[len(prefix) :].strip()


def test_a_bare_state_dict(convert, published):
    assert convert(published['state_dict'])[0] == 0


def test_missing_key(convert, published, capsys):
    name = next(n for n in published['state_dict'] if n.endswith('linear.bias'))
    del published['state_dict'][name]
    assert refused(convert, published, capsys) == (
        'does not fit the config: missing head.exits.0.linear.bias'
    )


def test_extra_key(convert, published, capsys):
    published['state_dict']['classifier.99.linear.bias'] = torch.zeros(4)
    assert refused(convert, published, capsys) == (
        'does not fit the config: unused head.exits.99.linear.bias'
    )


def test_wrong_shape(convert, published, capsys):
    weights = published['state_dict']
    name = next(n for n in weights if n.endswith('linear.weight'))
    weights[name] = torch.zeros(10, 8)
    assert refused(convert, published, capsys) == (
        'does not fit the config: head.exits.0.linear.weight has shape (10, 8), the '
        'config wants (4, 8)'
    )


def test_files_that_are_no_checkpoints(convert, published, capsys, tmp_path):
    source = tmp_path / 'model_best.pth.tar'
    assert refused(convert, None, capsys) == 'does not exist'
    for data in (b'', b'<html>\nNot found\n</html>\n', b'\x80\x02garbage'):
        source.write_bytes(data)
        assert ': the safe loader does not open it' in refused(convert, None, capsys)
    assert 'no state dict' in refused(convert, dict(epoch=3), capsys)


def test_a_checkpoint_that_wants_to_run_code(convert, published, capsys, tmp_path):
    attacked = tmp_path / 'attacked'
    published['best_prec1'] = Attack(attacked)
    assert 'it asks to run code' in refused(convert, published, capsys)
    assert not attacked.exists()


def test_no_such_config(monkeypatch, published, kind, tmp_path, capsys):
    source, target = tmp_path / 'a.tar', tmp_path / 'b.pth'
    torch.save(published, source)
    arguments = (source, target, '--config', tmp_path / 'no.py')
    assert run(monkeypatch, f'{kind}_to_dynnet', *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f'error: config file {tmp_path / "no.py"} does not exist'
    assert not target.exists()


# Freezing to one exit


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Twelve pictures of four classes."""
    folder = tmp_path_factory.mktemp('data')
    rng, labels = np.random.default_rng(0), np.arange(12) % 4
    images = rng.integers(0, 80, (12, 32, 32, 3)) + 40 * labels[:, None, None, None]
    arrays = {f'x_{split}': images.astype('u1') for split in ('train', 'test')}
    np.savez(folder / 'tiny.npz', **arrays, y_train=labels, y_test=labels)
    return folder


@pytest.fixture
def frozen_from(data, net_config, shared_net, tmp_path):
    """Config and checkpoint of a small early-exit net on those pictures."""
    cfg = Config.fromfile(ROOT / 'tests/data/configs/tiny_train.py')
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(data)
    head = net_config('msdnet-max')['head']
    cfg.model = net_config('msdnet-max', head=dict(head, topk=(1, 3)))
    cfg.data_preprocessor = dict(mean=[127] * 3, std=[60] * 3, num_classes=4)
    cfg.test_cfg = dict(type='dynnet.EarlyExitTestLoop')
    cfg.test_evaluator = dict(type='dynnet.AnytimeAccuracy')
    cfg.dump(tmp_path / 'full.py')
    state = {f'module.{n}': v for n, v in shared_net('msdnet-max').state_dict().items()}
    meta = dict(
        dataset_meta=dict(classes=list('abcd')), exit_thresholds=dict(points=[])
    )
    save_checkpoint(tmp_path / 'full.pth', dict(state_dict=state, meta=meta))
    return tmp_path / 'full.py', tmp_path / 'full.pth'


def run_test(config, checkpoint, out, *options):
    """Run tools/test.py in this process; return its predictions."""
    spec = importlib.util.spec_from_file_location('tool', ROOT / 'tools/test.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    argv = [str(config), str(checkpoint), '--out', str(out)]
    argv += ['--work-dir', str(out.parent / 'work'), '--cfg-options']
    argv += [f'experiment_name={next(_names)}', *options]
    assert run_main(lambda: tool.main(argv)) == 0
    return mmengine.load(out)


def test_frozen_model_runs_with_the_usual_tool(
    monkeypatch, frozen_from, tmp_path, capsys
):
    out = tmp_path / 'new' / 'exit2.pth'
    assert run(monkeypatch, 'freeze_exit', *frozen_from, 2, out) == 0
    assert f'{out}: exit 2, ' in capsys.readouterr().out
    content = load_checkpoint(out)
    assert content['meta'] == dict(
        frozen_from='full.pth', frozen_exit=2, dataset_meta=dict(classes=list('abcd'))
    )
    cfg = Config.fromfile(out.with_suffix('.py'))
    accuracy = dict(type='mmpretrain.Accuracy', topk=(1, 3))
    assert cfg.test_evaluator == cfg.val_evaluator == accuracy
    assert cfg.test_cfg == cfg.val_cfg == dict()
    original = Config.fromfile(frozen_from[0])
    for key in original.keys() - {'model', 'test_cfg'}:
        assert key.endswith('_evaluator') or cfg[key] == original[key], key

    frozen = run_test(out.with_suffix('.py'), out, tmp_path / 'frozen.pkl')
    options = ('model.test_cfg.mode=exit=2', 'test_evaluator.type=mmpretrain.Accuracy')
    fixed = run_test(*frozen_from, tmp_path / 'fixed.pkl', *options)
    assert len(frozen) == len(fixed) == 12
    for a, b in zip(frozen, fixed):
        torch.testing.assert_close(a['pred_score'], b['pred_score'], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(k=5), 'exit 5: the net has exits 1 to 4'),
        (dict(k=0), 'exit 0: the net has exits 1 to 4'),
        (dict(config='no.py'), 'no.py does not exist'),
        (dict(checkpoint='no.pth'), 'no.pth does not exist'),
        (dict(out='full.pth'), 'must be new files'),
        (dict(out='full.tar'), 'must be new files'),
        (dict(out='exit.py'), 'must be new files'),
    ],
)
def test_freezing_refuses(monkeypatch, frozen_from, tmp_path, capsys, change, message):
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    settings = dict(config='full.py', checkpoint='full.pth', k=2, out='exit.pth')
    settings = dict(settings, **change)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, 'freeze_exit', *settings.values()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and message in line
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_freezing_a_checkpoint_that_does_not_fit(
    monkeypatch, frozen_from, tmp_path, capsys
):
    content = load_checkpoint(frozen_from[1])
    del content['state_dict']['module.head.exits.1.linear.bias']
    save_checkpoint(frozen_from[1], content)
    assert run(monkeypatch, 'freeze_exit', *frozen_from, 2, tmp_path / 'x.pth') == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('does not fit the config: missing head.branch.linear.bias')
    assert run(monkeypatch, 'freeze_exit', *frozen_from, 1, tmp_path / 'x.pth') == 0


# --- L2W-DEN


def test_l2w_converter_takes_both_networks(net_config, tmp_path, monkeypatch, capsys):
    from mmengine.registry import init_default_scope

    from dynnet.registry import MODELS

    init_default_scope('mmpretrain')
    model = net_config('msdnet-max', type='dynnet.L2WClassifier')
    Config(dict(default_scope='mmpretrain', model=model)).dump(tmp_path / 'config.py')
    net = MODELS.build(model)
    own = {n: v for n, v in net.state_dict().items() if not n.startswith('wpn.')}
    network = {
        n.replace('head.exits.', 'classifier.').removeprefix('backbone.'): v
        for n, v in own.items()
    }
    content = dict(
        epoch=99, state_dict=network, meta_state_dict=net.wpn.state_dict(), optimizer={}
    )
    source, target = tmp_path / 'best.pth.tar', tmp_path / 'out.pth'

    def convert():
        torch.save(content, source)
        arguments = (source, target, '--config', tmp_path / 'config.py')
        return run(monkeypatch, 'l2w_to_dynnet', *arguments)

    assert convert() == 0
    assert 'not converted: epoch, optimizer' in capsys.readouterr().out
    converted = load_checkpoint(target)['state_dict']
    assert converted.keys() == net.state_dict().keys()
    assert all(torch.equal(v, converted[n]) for n, v in net.state_dict().items())
    target.unlink()
    del content['meta_state_dict']
    assert convert() == 1 and not target.exists()
    assert "best.pth.tar: it has no 'meta_state_dict'" in capsys.readouterr().err
    content['meta_state_dict'] = {'output_layer.weight': torch.ones(4, 9)}
    assert convert() == 1 and not target.exists()
    assert 'missing wpn.first_hidden_layer.fc.weight' in capsys.readouterr().err
