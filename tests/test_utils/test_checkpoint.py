"""Opening checkpoints without running code, writing them whole, loading weights."""

import os
import pickle

import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from dynnet.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from dynnet.utils.errors import CheckpointError


class Attack:
    """A pickle that makes a file where it is opened."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


class GetAttr:
    """A pickle that asks for an attribute of something harmless."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_round_trip(tmp_path):
    path = tmp_path / 'new' / 'folder' / 'a.pth'
    save_checkpoint(path, dict(state_dict=net().state_dict(), meta=dict(epoch=3)))
    content = load_checkpoint(path)
    assert content['meta'] == dict(epoch=3)
    assert content['state_dict'].keys() == net().state_dict().keys()
    assert [p.name for p in path.parent.iterdir()] == ['a.pth']


def test_a_runner_s_checkpoint_opens(tmp_path):
    """mmengine stores its message hub, whose buffers ask for getattr."""
    hub = MessageHub('test_a_runner_s_checkpoint_opens')
    hub.update_scalar('train/loss', 1.5)
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, message_hub=hub.state_dict()), path)
    scalars = load_checkpoint(path)['message_hub']['log_scalars']
    assert isinstance(scalars['train/loss'], HistoryBuffer)
    assert scalars['train/loss'].current() == 1.5


@pytest.mark.parametrize('zipped', [True, False])
def test_code_is_not_run(tmp_path, zipped):
    path, target = tmp_path / 'a.pth', tmp_path / 'attacked'
    content = dict(state_dict={}, extra=Attack(target))
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match='not a checkpoint that the safe loader'):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()  # the attack works where it is let


@pytest.mark.parametrize(
    ('owner', 'name'),
    [(HistoryBuffer, '__init__'), (torch.Tensor, 'add'), (dict, 'pop')],
)
def test_attributes_of_other_things_are_refused(tmp_path, owner, name):
    path = tmp_path / 'a.pth'
    torch.save(dict(state_dict={}, extra=GetAttr(owner, name)), path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def write(path, kind):
    if kind == 'text':
        path.write_text('hello\nworld\n')
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'truncated':
        torch.save(dict(state_dict=net().state_dict()), path)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == 'no state_dict':
        torch.save(dict(weights=net().state_dict()), path)
    elif kind == 'list':
        torch.save([1, 2], path)
    elif kind == 'state_dict of another kind':
        torch.save(dict(state_dict=3), path)
    elif kind == 'folder':
        path.mkdir()


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('missing', 'does not exist'),
        ('folder', 'does not exist'),
        ('text', 'safe loader'),
        ('empty', 'safe loader'),
        ('truncated', 'safe loader'),
        ('no state_dict', "has no 'state_dict'"),
        ('list', "has no 'state_dict'"),
        ('state_dict of another kind', "has no 'state_dict'"),
    ],
)
def test_what_is_no_checkpoint(tmp_path, kind, message):
    path = tmp_path / 'a.pth'
    write(path, kind)
    with pytest.raises(CheckpointError, match=message) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_weights(tmp_path):
    path, model = tmp_path / 'a.pth', net()
    state = {f'module.{n}': torch.ones_like(v) for n, v in model.state_dict().items()}
    save_checkpoint(path, dict(state_dict=dict(state, extra=torch.zeros(1))))
    assert load_weights(model, path) == {}
    assert all(bool((v == 1).all()) for v in model.state_dict().values())


def test_meta_is_returned(tmp_path):
    path, model = tmp_path / 'a.pth', net()
    save_checkpoint(path, dict(state_dict=model.state_dict(), meta=dict(epoch=7)))
    assert load_weights(model, path) == dict(epoch=7)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(drop=['0.weight']), 'it lacks 0.weight$'),
        (
            dict(drop=['0.weight', '0.bias', '1.weight', '1.bias']),
            'it lacks 0.weight, 0.bias, 1.weight and 1 more$',
        ),
        (dict(add={'0.weight': torch.zeros(5, 3)}), 'size mismatch for 0.weight'),
    ],
)
def test_weights_that_do_not_fit(tmp_path, change, message):
    path, state = tmp_path / 'a.pth', dict(net().state_dict())
    for name in change.get('drop', ()):
        del state[name]
    state.update(change.get('add', {}))
    save_checkpoint(path, dict(state_dict=state))
    with pytest.raises(CheckpointError, match=message) as error:
        load_weights(net(), path)
    assert str(error.value).startswith(f'{path} does not fit the model: ')
    assert len(str(error.value).splitlines()) == 1
