"""dynnet's parts in a toolbox's configs, and a toolbox's parts in dynnet's scope."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import DefaultScope, Registry

import dynnet  # noqa: F401
from dynnet import registry

ROOT = Path(__file__).resolve().parent.parent
CHILDREN = {
    name: value
    for name, value in vars(registry).items()
    if isinstance(value, registry.ScopedRegistry)
}


@pytest.fixture
def scope():
    """Set default scopes for the length of a test."""
    stack = []

    def push(name):
        context = DefaultScope.overwrite_default_scope(name)
        context.__enter__()
        stack.append(context)

    yield push
    for context in reversed(stack):
        context.__exit__(None, None, None)


def test_every_root_of_mmengine_has_a_child():
    from mmengine import registry as root

    roots = {r for r in vars(root).values() if isinstance(r, Registry)}
    # Not built by name in any config of a toolbox.
    roots -= {root.STRATEGIES, root.INFERENCERS}
    parents = {child.parent for child in CHILDREN.values()} - {None}
    assert parents == roots


@pytest.mark.parametrize('name', sorted(CHILDREN))
def test_locations_import(name):
    CHILDREN[name].import_from_location()
    assert CHILDREN[name].scope == 'dynnet'


def test_unscoped_names_are_ours_first(scope):
    scope('mmpretrain')
    assert registry.MODELS.build(dict(type='RANet')).num_exits > 1


@pytest.mark.parametrize('name', ['PackInputs', 'RandomCrop', 'RandomFlip'])
def test_names_in_our_scope_mean_what_they_mean_around_it(name, scope):
    """A base written 'dynnet::...' puts its content into the scope dynnet."""
    scope('mmpretrain')
    with ROOT_TRANSFORMS.switch_scope_and_registry(None) as around:
        expected = around.get(name)
    scope('dynnet')
    with ROOT_TRANSFORMS.switch_scope_and_registry(None) as ours:
        assert ours.scope == 'dynnet'
        assert ours.get(name) is expected is not None


def test_a_toolbox_finds_its_defaults_in_our_scope(scope):
    """LinearClsHead builds its default loss, 'CrossEntropyLoss', by bare name."""
    scope('mmpretrain')
    cfg = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=4)
    head = ROOT_MODELS.build(dict(cfg, _scope_='dynnet'))
    assert type(head.loss_module).__module__.startswith('mmpretrain.')


def test_without_a_default_scope_ours_and_scoped_names_build(monkeypatch):
    # Runners of other tests may have left theirs.
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    assert registry.MODELS.build(dict(type='RANet')).num_exits > 1
    cfg = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=4)
    assert registry.MODELS.build(cfg).fc.out_features == 3


def test_unknown_name_is_an_error_that_names_it(scope):
    scope('mmpretrain')
    with pytest.raises(KeyError, match='RANett'):
        registry.MODELS.build(dict(type='RANett'))
    with pytest.raises(KeyError, match='RANett'):
        ROOT_MODELS.build(dict(type='dynnet.RANett'))


FOREIGN_CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['dynnet', 'their_project'])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='dynnet.RANet', exit_index=0),
    neck=dict(type='TheirNeck'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels={channels}))
ours = dict(
    type='dynnet.MultiExitClassifier',
    backbone=dict(type='dynnet.RANet'),
    head=dict(type='dynnet.MultiExitHead', num_classes=10))
"""
FOREIGN_PROJECT = """
from mmpretrain.registry import MODELS
from mmpretrain.models.necks import GlobalAveragePooling

@MODELS.register_module()
class TheirNeck(GlobalAveragePooling):
    pass
"""
FOREIGN_MAIN = """
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

cfg = Config.fromfile('config.py')
init_default_scope(cfg.default_scope)
model = MODELS.build(cfg.model).eval()
print(type(model.backbone).__module__.split('.')[0], type(model.neck).__module__)
print(tuple(model(torch.zeros(2, 3, 32, 32), mode='tensor').shape))
ours = MODELS.build(cfg.ours).eval()
print(ours(torch.zeros(2, 3, 32, 32), mode='tensor').shape[-1], ours.num_exits)
"""


def test_a_foreign_project_uses_our_parts(tmp_path):
    """One custom_imports and the prefix; the project's own code knows nothing."""
    net = registry.MODELS.build(dict(type='RANet', exit_index=0))
    channels = net.exit_channels[0]
    (tmp_path / 'config.py').write_text(FOREIGN_CONFIG.format(channels=channels))
    (tmp_path / 'their_project.py').write_text(FOREIGN_PROJECT)
    (tmp_path / 'main.py').write_text(FOREIGN_MAIN)
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', 'main.py']
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    exits = registry.MODELS.build(dict(type='RANet')).num_exits
    lines = done.stdout.strip().splitlines()[-3:]
    assert lines == ['dynnet their_project', '(2, 10)', f'10 {exits}']
