"""Converting published checkpoints: strict, and safe to open."""

import os

import pytest
import torch

from dynnet.utils.conversion import (
    check_state,
    convert_checkpoint,
    early_exit_keys,
    read_published,
)
from dynnet.utils.errors import CheckpointError, ConfigError


class Attack:
    """A pickle that makes a file where it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


def test_keys():
    names = [
        'module.FirstLayer.layers.0.net.0.weight',
        'module.scale_flows.1.0.layers.0.conv_up.net.0.weight',
        'module.classifier.3.linear.bias',
        'classifier.10.m.0.net.1.running_mean',
        'blocks.0.0.layers.0.net.0.weight',
        'classifierX',
    ]
    renamed = early_exit_keys({name: torch.zeros(i) for i, name in enumerate(names)})
    assert {name: len(value) for name, value in renamed.items()} == {
        'backbone.FirstLayer.layers.0.net.0.weight': 0,
        'backbone.scale_flows.1.0.layers.0.conv_up.net.0.weight': 1,
        'head.exits.3.linear.bias': 2,
        'head.exits.10.m.0.net.1.running_mean': 3,
        'backbone.blocks.0.0.layers.0.net.0.weight': 4,
        'backbone.classifierX': 5,
    }


def test_check_state():
    expected = {name: torch.zeros(2, 3) for name in 'abcdefgh'}
    check_state(dict(expected), expected, 'x.pth')
    state = {name: expected[name] for name in 'cdefgh'} | dict(
        z=torch.zeros(1), c=torch.zeros(3)
    )
    with pytest.raises(CheckpointError) as error:
        check_state(state, expected, 'x.pth')
    assert str(error.value) == (
        'x.pth does not fit the config: missing a; missing b; unused z; c has shape '
        '(3,), the config wants (2, 3)'
    )
    with pytest.raises(CheckpointError, match='missing e; and 3 more$'):
        check_state({}, expected, 'x.pth')


def save(path, content):
    torch.save(content, path)
    return path


def test_published_files(tmp_path):
    weights = dict(a=torch.ones(2))
    whole = dict(epoch=3, arch='RANet', state_dict=weights, optimizer=dict(state={}))
    assert read_published(save(tmp_path / 'a.tar', whole)).keys() == whole.keys()
    bare = read_published(save(tmp_path / 'b.tar', weights))
    assert list(bare) == ['state_dict'] and torch.equal(
        bare['state_dict']['a'], weights['a']
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('text', 'no checkpoint, or it asks to run code'),
        ('empty file', 'no checkpoint, or it asks to run code'),
        ('missing', 'does not exist'),
        ([1, 2], 'holds a list, no weights'),
        ({}, 'no state dict: it is empty'),
        (dict(state_dict={}), 'no state dict: it is empty'),
        (dict(epoch=3), "no state dict: 'epoch' is no tensor"),
        (dict(state_dict=dict(a=3)), "no state dict: 'a' is no tensor"),
    ],
)
def test_what_is_not_published(tmp_path, content, message):
    path = tmp_path / 'model.tar'
    if content == 'text':
        path.write_text('<html>\n<title>404</title>\n')
    elif content == 'empty file':
        path.touch()
    elif content != 'missing':
        save(path, content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_published(path)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_not_run(tmp_path, zipped):
    path, target = tmp_path / 'model.tar', tmp_path / 'attacked'
    content = dict(state_dict=dict(a=torch.ones(1)), best_prec1=Attack(target))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match='it asks to run code'):
        read_published(path)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists()  # the attack works where it is let


def test_the_config_must_exist(tmp_path):
    path = save(tmp_path / 'a.tar', dict(a=torch.ones(1)))
    target = tmp_path / 'b.pth'
    with pytest.raises(ConfigError, match='no.py does not exist'):
        convert_checkpoint(path, target, tmp_path / 'no.py', early_exit_keys)
    config = tmp_path / 'empty.py'
    config.write_text('x = 1\n')
    with pytest.raises(ConfigError, match='empty.py has no model'):
        convert_checkpoint(path, target, config, early_exit_keys)
    assert not target.exists()
