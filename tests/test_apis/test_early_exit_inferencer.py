import io
import pickle

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config  # noqa: E402

from dynnet.apis import EarlyExitInferencer, init_model  # noqa: E402
from dynnet.models.exits import ExitThresholds, OperatingPoint  # noqa: E402
from dynnet.utils.errors import (  # noqa: E402
    CheckpointError,
    ConfigError,
    DataError,
)

SIDE = 16
CLASSES = ['ant', 'bee', 'cow']
NEVER = float('inf')


def toy_config(in_channels=3, pipeline=None, to_rgb=False, **model):
    """A three-exit MSDNet whose dataset delivers arrays (no loading transform)."""
    return Config(
        dict(
            default_scope='mmpretrain',
            custom_imports=dict(imports=['dynnet']),
            data_preprocessor=dict(
                mean=[100.0] * in_channels, std=[50.0] * in_channels, to_rgb=to_rgb
            ),
            model=dict(
                type='dynnet.MultiExitClassifier',
                backbone=dict(
                    type='dynnet.MSDNet',
                    num_blocks=3,
                    base_channels=4,
                    growth_rate=2,
                    in_channels=in_channels,
                ),
                head=dict(
                    type='dynnet.MultiExitHead',
                    num_classes=3,
                    exit=dict(type='dynnet.ConvExit', channels=8),
                ),
                **model,
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='dynnet.Subset',
                    num=1,
                    dataset=dict(
                        type='dynnet.NPZDataset',
                        ann_file='none.npz',
                        metainfo=dict(classes=CLASSES),
                        pipeline=pipeline or [dict(type='PackInputs')],
                    ),
                )
            ),
        )
    )


@pytest.fixture
def make_checkpoint(tmp_path):
    """Weights that tell pictures apart, in a checkpoint with the given meta."""

    def make(cfg=None, name='weights.pth', **meta):
        torch.manual_seed(0)
        model = init_model(cfg or toy_config())
        for weight in model.parameters():
            if weight.dim() == 2:
                torch.nn.init.normal_(weight, std=3)
        path = tmp_path / name
        torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
        return path

    return make


def solved(*budgets, num_exits=3):
    costs = [100.0 * (k + 1) for k in range(num_exits)]
    points = [
        OperatingPoint([0.1 * (i + 1)] * (num_exits - 1), expected_cost=b, budget=b)
        for i, b in enumerate(budgets)
    ]
    return ExitThresholds(dict(type='MaxSoftmax'), costs, points)


def pictures(n=6, channels=3):
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (n, SIDE, SIDE, channels), dtype=np.uint8))


def test_result_of_one_picture(make_checkpoint):
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), [0.0, 0.0])
    (result,) = inferencer(pictures(1)[0])
    assert set(result) == {'label', 'class_name', 'score', 'exit', 'macs', 'ms'}
    assert result['class_name'] == CLASSES[result['label']]
    assert result['exit'] == 1
    assert result['macs'] == inferencer.model.exit_costs[0]
    assert result['ms'] > 0
    costs = inferencer.model.costs
    assert costs.input_shape == (3, SIDE, SIDE)


def test_execute_agrees_with_simulate_and_its_macs(make_checkpoint):
    path, images = make_checkpoint(), pictures(8)
    everywhere = EarlyExitInferencer(toy_config(), path, mode='simulate')
    scores = [
        everywhere.model.predict(_prepare(everywhere, image))[0].exit_scores
        for image in images
    ]
    middle = torch.stack(scores).median(0).values
    thresholds = (middle[:2] + 1e-4).tolist()
    simulated = EarlyExitInferencer(toy_config(), path, thresholds, mode='simulate')
    executed = EarlyExitInferencer(toy_config(), path, thresholds)
    for a, b, c in zip(simulated(images), executed(images), executed(images, 5)):
        for other in (b, c):
            assert (a['label'], a['exit'], a['macs']) == (
                other['label'],
                other['exit'],
                other['macs'],
            )
            assert a['score'] == pytest.approx(other['score'], abs=1e-5)
    assert len({r['exit'] for r in executed(images)}) > 1


def _prepare(inferencer, image):
    packed = inferencer.pipeline(image)
    return inferencer.model.data_preprocessor(dict(inputs=[packed['inputs']]))['inputs']


@pytest.mark.parametrize('exit_number', [1, 2, 3])
def test_fixed_exit(make_checkpoint, exit_number):
    inferencer = EarlyExitInferencer(
        toy_config(), make_checkpoint(), mode=f'exit={exit_number}'
    )
    results = inferencer(pictures(3), batch_size=2)
    assert [r['exit'] for r in results] == [exit_number] * 3
    costs = inferencer.model.costs
    earlier = sum(costs.head_macs[: exit_number - 1])
    assert results[0]['macs'] == costs.macs[exit_number - 1] - earlier


def test_paths_and_arrays_agree(make_checkpoint, tmp_path):
    image, path = pictures(1)[0], tmp_path / 'a.png'
    cv2.imwrite(str(path), image)
    weights = make_checkpoint()
    for cfg in (
        toy_config(),
        toy_config(to_rgb=True),
        toy_config(
            to_rgb=True,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
        ),
    ):
        bgr = EarlyExitInferencer(cfg, weights, [NEVER, NEVER])
        rgb = EarlyExitInferencer(cfg, weights, [NEVER, NEVER], channel_order='rgb')
        same = [
            bgr(str(path)),
            bgr(path),
            bgr([path]),
            bgr(image),
            rgb(image[..., ::-1]),
        ]
        scores = {results[0]['score'] for results in same}
        assert len(scores) == 1
        assert rgb(image)[0]['score'] not in scores
        # The net sees RGB, whoever swaps the channels.
        seen = _prepare(bgr, path)[0].permute(1, 2, 0) * 50 + 100
        assert torch.allclose(seen, torch.tensor(image[..., ::-1].copy()).float())


def test_grey_net(make_checkpoint, tmp_path):
    cfg = toy_config(in_channels=1)
    inferencer = EarlyExitInferencer(cfg, make_checkpoint(cfg), mode='simulate')
    grey, path = pictures(1, channels=1)[0], tmp_path / 'grey.png'
    cv2.imwrite(str(path), grey)
    results = inferencer([grey, grey[..., 0], path, np.repeat(grey, 3, axis=2)])
    assert len({r['score'] for r in results}) == 1
    assert inferencer.model.costs.input_shape == (1, SIDE, SIDE)


def test_colour_net_takes_grey_pictures(make_checkpoint):
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), mode='simulate')
    grey = pictures(1, channels=1)[0]
    a, b = inferencer([grey[..., 0], np.repeat(grey, 3, axis=2)])
    assert a['score'] == b['score']


def test_pictures_are_resized_if_asked(make_checkpoint):
    inferencer = EarlyExitInferencer(
        toy_config(), make_checkpoint(), mode='simulate', size=(SIDE, 2 * SIDE)
    )
    inferencer(np.zeros((50, 40, 3), np.uint8))
    assert inferencer.model.costs.input_shape == (3, SIDE, 2 * SIDE)


def test_costs_follow_the_size(make_checkpoint):
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), mode='exit=1')
    small, large = inferencer([np.zeros((s, s, 3), np.uint8) for s in (16, 32)])
    assert large['macs'] > 3 * small['macs']


def test_thresholds_from_a_file(make_checkpoint, tmp_path):
    path = tmp_path / 'thresholds.json'
    solved(150.0, 250.0).save(path)
    weights = make_checkpoint()
    cheap = EarlyExitInferencer(toy_config(), weights, path, budget=200)
    assert cheap.model.thresholds == [0.1, 0.1]
    dear = EarlyExitInferencer(toy_config(), weights, str(path), budget=260)
    assert dear.model.thresholds == [0.2, 0.2]
    with pytest.raises(ValueError, match='2 operating points .* from 150 to 250 MACs'):
        EarlyExitInferencer(toy_config(), weights, path)
    with pytest.raises(ValueError, match='below the minimum 100 MACs'):
        EarlyExitInferencer(toy_config(), weights, path, budget=50)
    with pytest.raises(ValueError, match='above the maximum 300 MACs'):
        EarlyExitInferencer(toy_config(), weights, path, budget=400)


def test_thresholds_in_the_checkpoint(make_checkpoint, tmp_path):
    weights = make_checkpoint(exit_thresholds=solved(150.0, 250.0).to_dict())
    assert EarlyExitInferencer(
        toy_config(), weights, budget=200
    ).model.thresholds == pytest.approx([0.1, 0.1])
    with pytest.raises(ValueError, match='give a budget'):
        EarlyExitInferencer(toy_config(), weights)
    simulated = EarlyExitInferencer(toy_config(), weights, mode='simulate')
    assert simulated.model.thresholds is None
    # What is said explicitly wins: the argument, then the config.
    configured = toy_config(test_cfg=dict(thresholds=[0.7, NEVER]))
    assert EarlyExitInferencer(configured, weights).model.thresholds == [0.7, NEVER]
    assert EarlyExitInferencer(configured, weights, [0.6, 0.6]).model.thresholds == [
        0.6,
        0.6,
    ]
    one = make_checkpoint(exit_thresholds=solved(150.0).to_dict())
    assert EarlyExitInferencer(toy_config(), one).model.thresholds == [0.1, 0.1]


def test_patience_brings_its_own_thresholds(make_checkpoint):
    cfg = toy_config(criterion=dict(type='dynnet.Patience', patience=2))
    results = EarlyExitInferencer(cfg, make_checkpoint())(pictures(4))
    assert {r['exit'] for r in results} <= {2, 3}


def test_a_budget_in_the_config(make_checkpoint, tmp_path):
    path = tmp_path / 'thresholds.json'
    solved(150.0, 250.0).save(path)
    cfg = toy_config(test_cfg=dict(thresholds=str(path), budget=200))
    weights = make_checkpoint()
    assert EarlyExitInferencer(cfg, weights).model.thresholds == [0.1, 0.1]
    # A config without a budget is no obstacle to one from the caller.
    cfg = toy_config(test_cfg=dict(thresholds=str(path)))
    assert EarlyExitInferencer(cfg, weights, budget=260).model.thresholds == [0.2, 0.2]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(), "mode='execute' needs thresholds"),
        (dict(thresholds=[0.5]), '3 exits need 2 thresholds'),
        (dict(thresholds=[0.5, 0.5], budget=1e6), 'a budget chooses among solved'),
        (dict(budget=1e6), 'a budget needs solved thresholds'),
        (dict(mode='exit=1', thresholds=[0.5, 0.5]), 'uses no thresholds'),
        (dict(mode='exit=4'), 'the net has exits 1 to 3'),
        (dict(mode='run'), "mode='run': choose"),
        (dict(thresholds='nowhere.json'), 'nowhere.json'),
        (dict(mode='simulate', channel_order='rbg'), "channel_order='rbg'"),
    ],
)
def test_wrong_settings(make_checkpoint, arguments, message):
    weights = make_checkpoint()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        EarlyExitInferencer(toy_config(), weights, **arguments)


def test_wrong_config(tmp_path):
    with pytest.raises(ConfigError, match='nowhere.py does not exist'):
        EarlyExitInferencer('nowhere.py')
    with pytest.raises(ConfigError, match='has no model'):
        EarlyExitInferencer(Config(dict(default_scope='mmpretrain')))
    plain = toy_config()
    plain.model = dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=512),
    )
    with pytest.raises(ConfigError, match='ImageClassifier, not a MultiExitClassifier'):
        EarlyExitInferencer(plain, mode='simulate')
    plain.pop('test_dataloader')
    plain.model = toy_config().model
    with pytest.raises(ConfigError, match='has no test_dataloader.dataset.pipeline'):
        EarlyExitInferencer(plain, mode='simulate')


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
@pytest.mark.parametrize('keep', [0.0, 0.05, 0.6])
def test_a_truncated_picture_is_named(make_checkpoint, tmp_path, suffix, keep):
    path = tmp_path / f'half.{suffix}'
    cv2.imwrite(str(path), cv2.resize(pictures(1)[0], (64, 64)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), mode='simulate')
    with pytest.raises(DataError, match=f'half.{suffix} is damaged or no picture'):
        inferencer(path)


def test_what_is_no_picture_is_named(make_checkpoint, tmp_path):
    text = tmp_path / 'notes.txt'
    text.write_text('no picture')
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), mode='simulate')
    with pytest.raises(DataError, match='notes.txt is damaged or no picture'):
        inferencer([pictures(1)[0], text])
    with pytest.raises(DataError, match='missing.png does not exist'):
        inferencer(tmp_path / 'missing.png')
    for array in (
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        7,
    ):
        with pytest.raises(DataError, match='a picture is a path or uint8'):
            inferencer(array)


def test_a_batch_of_different_sizes(make_checkpoint):
    inferencer = EarlyExitInferencer(toy_config(), make_checkpoint(), mode='simulate')
    mixed = [np.zeros((s, s, 3), np.uint8) for s in (16, 24)]
    with pytest.raises(DataError, match='differ in size'):
        inferencer(mixed, batch_size=2)
    assert len(inferencer(mixed, batch_size=1)) == 2
    with pytest.raises(ConfigError, match='batch_size=0'):
        inferencer(mixed, batch_size=0)


def test_classes_come_from_the_checkpoint_first(make_checkpoint):
    path = make_checkpoint(dataset_meta=dict(classes=('x', 'y', 'z')))
    inferencer = EarlyExitInferencer(toy_config(), path, mode='simulate')
    assert tuple(inferencer.classes) == ('x', 'y', 'z')
    cfg = toy_config()
    cfg.test_dataloader.dataset.dataset = dict(
        type='CIFAR10', data_root='none', pipeline=[dict(type='PackInputs')]
    )
    assert init_model(cfg).dataset_meta['classes'][3] == 'cat'
    cfg.test_dataloader.dataset.dataset.type = 'dynnet.NPZDataset'
    inferencer = EarlyExitInferencer(cfg, mode='simulate')
    assert inferencer.classes is None
    assert inferencer(pictures(1))[0]['class_name'] is None


def test_the_config_is_left_alone():
    cfg = toy_config(test_cfg=dict(mode='simulate', thresholds=[0.5, 0.5]))
    before = cfg.pretty_text
    EarlyExitInferencer(cfg, thresholds=[0.2, 0.2])
    assert cfg.pretty_text == before


class Evil:
    def __reduce__(self):
        return exec, ('raise SystemExit("the checkpoint ran code")',)


def test_checkpoints_that_are_refused(make_checkpoint, tmp_path):
    evil = tmp_path / 'evil.pth'
    torch.save(dict(state_dict={}, meta=dict(x=Evil())), evil)
    with pytest.raises(CheckpointError, match='evil.pth: not a checkpoint'):
        init_model(toy_config(), evil)
    evil.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(CheckpointError, match='evil.pth: not a checkpoint'):
        init_model(toy_config(), evil)
    with pytest.raises(CheckpointError, match='none.pth does not exist'):
        init_model(toy_config(), tmp_path / 'none.pth')
    good = torch.load(make_checkpoint(), weights_only=True)
    for change, message in (
        (lambda s: s.pop('head.exits.1.linear.bias'), 'lacks head.exits.1.linear.bias'),
        (
            lambda s: s.update({'head.exits.0.linear.bias': torch.zeros(5)}),
            'size mismatch for head.exits.0.linear.bias',
        ),
    ):
        content = dict(good, state_dict=dict(good['state_dict']))
        change(content['state_dict'])
        buffer = io.BytesIO()
        torch.save(content, buffer)
        (tmp_path / 'changed.pth').write_bytes(buffer.getvalue())
        with pytest.raises(CheckpointError, match=message):
            init_model(toy_config(), tmp_path / 'changed.pth')


def test_weights_of_a_wrapped_model_and_extra_ones(make_checkpoint, tmp_path):
    good = torch.load(make_checkpoint(), weights_only=True)
    state = {f'module.{name}': value for name, value in good['state_dict'].items()}
    state['module.head.exits.3.linear.bias'] = torch.zeros(3)
    torch.save(dict(state_dict=state), tmp_path / 'wrapped.pth')
    model = init_model(toy_config(), tmp_path / 'wrapped.pth')
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, good['state_dict'][name])
