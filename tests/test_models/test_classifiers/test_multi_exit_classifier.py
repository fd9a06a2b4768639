"""MultiExitClassifier: modes, predictions, thresholds, and bad settings."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from dynnet.models.exits import ExitThresholds, MaxSoftmax, Patience, assign_exits
from dynnet.models.exits.thresholds import OperatingPoint
from dynnet.registry import MODELS
from dynnet.utils.errors import ConfigError

COSTS = [10.0, 20.0, 30.0, 40.0]


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(cfg)


@pytest.fixture
def net(make_net):
    return make_net('msdnet-max')


@pytest.fixture
def predict(net, pictures):
    """Predict six pictures in a mode."""

    @torch.no_grad()
    def call(mode, thresholds=None):
        net.mode = mode
        net.set_thresholds(thresholds)
        return net.predict(pictures[:6])

    return call


def column(samples, name):
    return torch.stack([torch.as_tensor(sample.get(name)) for sample in samples])


def test_tensor_mode_gives_all_logits(net, pictures):
    logits = net(pictures[:3])
    assert logits.shape == (4, 3, 4)
    for got, expected in zip(logits, net.head(net.backbone(pictures[:3]))):
        assert torch.equal(got, expected)


def test_loss_mode(net, pictures):
    samples = [DataSample().set_gt_label(i % 4) for i in range(4)]
    losses = net.train()(pictures[:4], samples, mode='loss')
    assert list(losses) == [f'loss_exit{k}' for k in (1, 2, 3, 4)]
    loss, shown = net.parse_losses(losses)
    torch.testing.assert_close(loss, sum(losses.values()))
    assert set(shown) == {'loss', *losses}
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_simulate(net, predict, pictures):
    net.head.topk = (1, 3)
    with torch.no_grad():
        logits = net(pictures[:6])
    scores = MaxSoftmax().score_all(logits)
    thresholds = scores.median(1).values[:-1].tolist()
    samples = predict('simulate', thresholds)
    exits = assign_exits(scores, thresholds)
    assert len(exits.unique()) > 1
    rows = torch.arange(6)
    probs = logits.softmax(2)
    assert torch.equal(column(samples, 'exit_index')[:, 0], exits)
    assert torch.equal(column(samples, 'exit_scores'), scores.t())
    assert torch.equal(column(samples, 'exit_confs'), probs.amax(2).t())
    top = column(samples, 'exit_labels')
    assert top.shape == (6, 4, 3)
    assert torch.equal(top[..., 0], logits.argmax(2).t())
    torch.testing.assert_close(column(samples, 'pred_score'), probs[exits, rows])
    labels = column(samples, 'pred_label')[:, 0]
    assert torch.equal(labels, logits[exits, rows].argmax(1))
    assert not any('cost' in sample for sample in samples)


def test_simulate_without_thresholds_takes_the_last_exit(net, predict, pictures):
    with torch.no_grad():
        logits = net(pictures[:6])
    samples = predict('simulate')
    assert column(samples, 'exit_index').unique().tolist() == [3]
    torch.testing.assert_close(column(samples, 'pred_score'), logits[3].softmax(1))


def test_topk_beyond_the_classes(net, predict):
    net.head.topk = (1, 5)
    assert column(predict('simulate'), 'exit_labels').shape == (6, 4, 4)


@pytest.mark.parametrize('measured', [False, True])
def test_execute_gives_the_simulated_predictions(net, predict, measured):
    costs = net.measure_costs((3, 32, 32)) if measured else None
    scores = column(predict('simulate'), 'exit_scores').t()
    ordered = scores.sort(1).values
    thresholds = ordered[:-1, 2:4].mean(1).tolist()
    simulated, executed = (predict(m, thresholds) for m in ('simulate', 'execute'))
    exits = column(simulated, 'exit_index')
    assert len(exits.unique()) > 1
    assert torch.equal(column(executed, 'exit_index'), exits)
    assert torch.equal(column(executed, 'pred_label'), column(simulated, 'pred_label'))
    torch.testing.assert_close(
        column(executed, 'pred_score'),
        column(simulated, 'pred_score'),
        rtol=0,
        atol=1e-5,
    )
    assert not any('exit_scores' in sample for sample in executed)
    if measured:
        paid = column(executed, 'cost')
        assert paid.tolist() == [[costs.macs[k]] for k in exits[:, 0].tolist()]
    else:
        assert not any('cost' in sample for sample in executed)


@pytest.mark.parametrize('k', [1, 2, 4])
def test_a_fixed_exit(net, predict, pictures, k):
    costs = net.measure_costs((3, 32, 32))
    samples = predict(f'exit={k}')
    with torch.no_grad():
        logits = net(pictures[:6])[k - 1]
    torch.testing.assert_close(
        column(samples, 'pred_score'), logits.softmax(1), rtol=0, atol=1e-5
    )
    assert column(samples, 'exit_index').tolist() == [[k - 1]] * 6
    expected = costs.macs[k - 1] - sum(costs.head_macs[: k - 1])
    assert column(samples, 'cost').tolist() == [[expected]] * 6


def test_data_samples_are_kept(net, pictures):
    given = [DataSample().set_gt_label(i) for i in range(3)]
    with torch.no_grad():
        samples = net.predict(pictures[:3], given)
    assert all(a is b for a, b in zip(samples, given))
    assert [int(sample.gt_label) for sample in samples] == [0, 1, 2]


def test_mode_can_be_changed_and_is_checked(net):
    assert net.mode == 'simulate' and net.num_exits == 4
    for mode in ('execute', 'exit=3', 'simulate'):
        net.mode = mode
        assert net.mode == mode
    for mode in ('exit=0', 'exit=5', 'exit=9', 'exit=', 'exit=1.5', 'exit=-1'):
        with pytest.raises(ConfigError, match=f'mode={mode!r}: the net has exits 1 to'):
            net.mode = mode
    with pytest.raises(ConfigError, match="mode='dynamic': choose 'simulate', 'exec"):
        net.mode = 'dynamic'
    assert net.mode == 'simulate'


def test_thresholds_of_the_wrong_kind(net, pictures):
    for wrong in ([], [0.5] * 2, [0.5] * 4):
        with pytest.raises(ConfigError, match=f'need 3 thresholds .* got {len(wrong)}'):
            net.set_thresholds(wrong)
    with pytest.raises(ConfigError, match='exit 2 is NaN'):
        net.set_thresholds([0.5, float('nan'), 0.5])
    assert net.thresholds is None
    with pytest.raises(ConfigError, match='a budget needs solved thresholds'):
        net.set_thresholds(None, budget=3)
    with pytest.raises(ConfigError, match='not from a list'):
        net.set_thresholds([0.5] * 3, budget=3)
    net.mode = 'execute'
    with pytest.raises(ConfigError, match="mode='execute' needs thresholds: set"):
        net.predict(pictures[:1])


def solved(thresholds, **settings):
    points = [
        OperatingPoint(
            thresholds=values,
            expected_cost=10.0 * (i + 1),
            expected_accuracy=None,
            exit_fractions=[0.25] * 4,
            budget=10.0 * (i + 1),
        )
        for i, values in enumerate(thresholds)
    ]
    settings = {'criterion': dict(type='MaxSoftmax'), 'exit_costs': COSTS, **settings}
    return ExitThresholds(points=points, **settings)


def test_thresholds_from_a_file(net, tmp_path):
    path = tmp_path / 'thresholds.json'
    solved([[0.5, float('inf'), 0.25]]).save(path)
    for source in (path, str(path), ExitThresholds.load(path)):
        net.set_thresholds(None)
        net.set_thresholds(source)
        assert net.thresholds == [0.5, float('inf'), 0.25]
    net.set_thresholds([0.5, None, 0.25])  # null in JSON
    assert net.thresholds == [0.5, float('inf'), 0.25]


def test_a_budget_picks_a_point(net):
    two = solved([[0.1] * 3, [0.9] * 3])
    net.set_thresholds(two, budget=20)
    assert net.thresholds == [0.9] * 3
    net.set_thresholds(two, budget=10)
    assert net.thresholds == [0.1] * 3
    with pytest.raises(ConfigError, match='2 operating points to choose from'):
        net.set_thresholds(two)


def test_thresholds_of_another_net_or_criterion(net):
    with pytest.raises(ValueError, match='exits'):
        net.set_thresholds(solved([[0.5]], exit_costs=[1.0, 2.0]))
    with pytest.raises(ValueError, match='Entropy'):
        net.set_thresholds(solved([[0.5] * 3], criterion=dict(type='Entropy')))


def test_patience_brings_its_own_thresholds(net_config):
    criterion = dict(type='dynnet.Patience', patience=3)
    net = build(net_config('msdnet-max', criterion=criterion))
    assert isinstance(net.criterion, Patience)
    assert net.thresholds == [3.0] * 3


def test_settings_of_the_config(net_config):
    test_cfg = dict(mode='execute', thresholds=[0.5, 0.6, 0.7])
    given = copy.deepcopy(test_cfg)
    net = build(net_config('msdnet-max', test_cfg=test_cfg))
    assert net.mode == 'execute' and net.thresholds == [0.5, 0.6, 0.7]
    assert test_cfg == given and net.exit_costs is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(test_cfg=dict(treshold=[1])),
            r"unknown keys in test_cfg: \['treshold'\]",
        ),
        (dict(test_cfg=dict(mode='exit=9')), 'the net has exits 1 to 4'),
        (dict(test_cfg=dict(thresholds=[0.5])), 'need 3 thresholds'),
        (dict(test_cfg=dict(budget=5)), 'a budget needs solved thresholds'),
        (dict(criterion=dict(type='MaxSoftMax')), "'MaxSoftMax'; registered: Entropy"),
    ],
)
def test_bad_settings(net_config, settings, message):
    with pytest.raises(ConfigError, match=message):
        build(net_config('msdnet-max', **settings))


def test_a_head_for_other_exits(net_config):
    cfg = net_config('msdnet-max')
    cfg['head']['in_channels'] = (4, 4)
    with pytest.raises(ConfigError, match='the head has 2 exits, the backbone 4'):
        build(cfg)


def test_backbones_with_one_exit(net_config):
    cfg = net_config('msdnet-max')
    cfg['backbone']['exit_index'] = 2
    with pytest.raises(ConfigError, match='exit_index=2 leaves one exit.*freeze_exit'):
        build(cfg)
    cfg['backbone'] = dict(type='ResNet', depth=18)
    with pytest.raises(ConfigError, match='ResNet has one exit.*StagedBackbone'):
        build(cfg)
