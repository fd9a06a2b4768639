"""L2W-DEN's training step: meta gradient, order of the steps, what it refuses."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

from dynnet.engine.split_optim_wrapper import SplitOptimWrapperConstructor
from dynnet.models.classifiers import l2w_classifier
from dynnet.models.exits import exit_shares
from dynnet.models.weighting import centre_weights, meta_loss
from dynnet.models.weighting.checks import check_optimizers, split_batch
from dynnet.registry import MODELS
from dynnet.utils.errors import NonFiniteLossError
from tools.benchmarks.double_backward import double_backward_batch, meta_gradients

SGD = dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-3)
WPN = dict(hidden_size=6, delta=0.8)


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmpretrain')
    torch.manual_seed(0)


@pytest.fixture
def build(net_config):
    """Build a small L2W classifier in training mode."""

    def make(name='msdnet-min', dtype=torch.float64, head=None, wpn=None, **settings):
        cfg = net_config(name, type='dynnet.L2WClassifier', **settings)
        cfg['head'].update(head or {})
        torch.manual_seed(0)
        model = MODELS.build(dict(cfg, wpn={**WPN, **(wpn or {})})).to(dtype).train()
        prepare = model._prepare  # the preprocessor gives float32

        def cast(data):
            inputs, target = prepare(data)
            return inputs.to(dtype), target

        model._prepare = cast
        return model

    return make


def optimizers(model, sgd=SGD, wpn=None, **options):
    adam = dict(type='Adam', lr=1e-2, weight_decay=1e-2)
    parts = dict(
        model=dict(optimizer=sgd, **options), wpn=dict(optimizer=adam, **(wpn or {}))
    )
    return SplitOptimWrapperConstructor(parts)(model)


def batch(number=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = [DataSample().set_gt_label(i % 4) for i in range(number)]
    return dict(
        inputs=torch.randn(number, 3, 32, 32, generator=generator), data_samples=labels
    )


def tensors(number=8, seed=0, dtype=torch.float64):
    x = batch(number, seed)['inputs'].to(dtype)
    return x, torch.arange(number) % 4


def halves(number=6, dtype=torch.float64):
    x, y = tensors(number, dtype=dtype)
    middle = (number + 1) // 2
    return (x[:middle], y[:middle]), (x[middle:], y[middle:])


def wpn_gradients(model, wrappers, train, meta):
    """The gradients that the WPN's optimizer is given, and the half's record."""
    kept = []
    handle = wrappers['wpn'].optimizer.register_step_pre_hook(
        lambda *args: kept.extend(p.grad.clone() for p in model.wpn.parameters())
    )
    step = model.half_step(train, meta, wrappers)
    handle.remove()
    return kept, step


OPTIONS = {
    'plain': dict(type='SGD', lr=0.05),
    'momentum': SGD,
    'nesterov': dict(SGD, nesterov=True),
    'dampened': dict(SGD, dampening=0.4),
}


@pytest.mark.parametrize('option', OPTIONS)
def test_meta_gradient_is_that_of_the_double_backward(build, option):
    kind = dict(plain='both', momentum='loss', nesterov='conf', dampened='loss')[option]
    centre = dict(plain='row', momentum='col', nesterov='mat', dampened='mat')[option]
    model = build(wpn=dict(input_type=kind, centre=centre))
    wrappers = optimizers(model, OPTIONS[option])
    model.half_step(*halves(), wrappers)  # momentum buffers come to be
    train, meta = halves()[::-1]
    theirs, loss = meta_gradients(model, train, meta, wrappers['model'].optimizer)
    ours, step = wpn_gradients(model, wrappers, train, meta)
    assert torch.allclose(step.lookahead.loss, loss, rtol=1e-12)
    scale = max(g.abs().max() for g in theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < 1e-10 * scale


@pytest.mark.parametrize('name', ['ranet-123', 'msdnet-max', 'resnet'])
def test_every_multi_exit_net_can_be_trained(build, name):
    model = build(name)
    wrappers = optimizers(model)
    theirs, _ = meta_gradients(model, *halves(4), wrappers['model'].optimizer)
    ours, step = wpn_gradients(model, wrappers, *halves(4))
    scale = max(g.abs().max() for g in theirs)
    assert all((a - b).abs().max() < 1e-9 * scale for a, b in zip(ours, theirs))
    assert step.weights.shape == (2, model.num_exits)


def test_weight_gradient_is_that_of_finite_differences(build):
    model = build()
    wrappers = optimizers(model)
    model.half_step(*halves(), wrappers)
    train, meta = halves(4)
    plain = copy.deepcopy(model)
    optimizer = optimizers(plain)['model'].optimizer
    state = copy.deepcopy(wrappers['model'].optimizer.state_dict())
    optimizer.load_state_dict(state)
    _, step = wpn_gradients(model, wrappers, train, meta)
    ahead = step.lookahead

    def value(weights):
        """Take a real step on real parameters."""
        net = copy.deepcopy(plain)
        sgd = torch.optim.SGD(
            [p for n, p in net.named_parameters() if not n.startswith('wpn.')],
            lr=0.05,
            momentum=0.9,
            weight_decay=1e-3,
        )
        # a copy: steps change the momentum buffers in place
        sgd.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        losses = l2w_classifier.plain_losses(net(train[0]), train[1])
        (weights * losses).mean(0).sum().backward()
        sgd.step()
        losses = l2w_classifier.plain_losses(net(meta[0]), meta[1])
        return float(meta_loss(losses.detach(), ahead.exit_index))

    ours, numeric = ahead.weight_gradient, torch.zeros_like(ahead.weights)
    h = 1e-5
    for index in range(numeric.numel()):
        shift = torch.zeros_like(ahead.weights)
        shift.view(-1)[index] = h
        up, down = (value(ahead.weights + s) for s in (shift, -shift))
        numeric.view(-1)[index] = (up - down) / (2 * h)
    assert (ours - numeric).norm() / numeric.norm() < 1e-6


def test_a_batch_equals_the_plain_forms(build):
    """Two halves, two steps of each optimizer, in this order."""
    ours, theirs = build(), build()
    theirs.load_state_dict(ours.state_dict())
    wrappers, others = optimizers(ours), optimizers(theirs)
    for seed in (0, 1):
        ours.train_step(batch(8, seed), wrappers)
        x, y = tensors(8, seed, torch.float32)  # as the preprocessor gives them
        parts = [(x[:4].double(), y[:4]), (x[4:].double(), y[4:])]
        double_backward_batch(
            theirs, parts, others['model'].optimizer, others['wpn'].optimizer
        )
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values()):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10), name


def test_weights_of_one_are_plain_training_and_bn_is_not_polluted(build):
    ours, plain = build(wpn=dict(delta=0.0)), build()
    plain.load_state_dict(ours.state_dict())
    wrappers = optimizers(ours)
    logs = ours.train_step(batch(), wrappers)
    wrapper = optimizers(plain)['model']
    total = []
    for x, y in zip(*(t.chunk(2) for t in tensors(dtype=torch.float32))):
        losses = l2w_classifier.plain_losses(plain(x.double()), y).mean(0)
        wrapper.update_params(losses.sum())
        total.append(losses.detach())
    state = {n: v for n, v in plain.state_dict().items() if not n.startswith('wpn.')}
    assert any('running_mean' in n for n in state)
    for name, value in state.items():
        assert torch.equal(ours.state_dict()[name], value), name
    assert torch.allclose(logs['loss'], sum(total).sum() / 2)
    assert torch.allclose(logs['loss_exit2'], (total[0][1] + total[1][1]) / 2)
    assert 'meta_loss' in logs


def test_repeated_forward_sees_the_same_dropout(build, monkeypatch):
    model = build()
    for branch in model.head.exits:
        branch.linear = nn.Sequential(nn.Dropout(0.5), branch.linear)
    seen = []

    def check(losses_of, parameters, direction):
        seen.append(losses_of(dict(parameters)).detach())
        return torch.zeros_like(seen[-1])

    monkeypatch.setattr(l2w_classifier, 'directional_losses', check)
    step = model.half_step(*halves(), optimizers(model))
    assert torch.equal(seen[0], step.losses)


def test_meta_interval_counts_the_batches_of_an_epoch(build):
    model = build(meta_interval=2)
    wrappers = optimizers(model)
    with pytest.raises(ValueError, match=r'meta_interval=2.*dynnet\.L2WHook'):
        model.train_step(batch(), wrappers)
    due = []
    for model.batch_index in (0, 1, 2, 0, 1):
        before = copy.deepcopy(model.wpn.state_dict())
        logs = model.train_step(batch(), wrappers)
        same = all(torch.equal(v, before[n]) for n, v in model.wpn.state_dict().items())
        assert same != ('meta_loss' in logs)
        assert (model.weighting_record.shares is None) == same
        due.append(not same)
    assert due == [True, False, True, True, False]


def test_target_shares_and_empty_exits(build):
    model = build(target=10)
    assert model.shares.tolist() == exit_shares(10, 3).tolist()
    # a quarter of four samples, none (floor of 0.4), the rest
    model = build(target=[0.25, 0.1, 0.65])
    wrappers = optimizers(model)
    model.train_step(batch(), wrappers)
    assert model.weighting_record.shares.tolist() == [0.25, 0, 0.75]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_odd_batch_gives_the_first_half_more(build):
    model = build()
    model.train_step(batch(7), optimizers(model))
    assert model.weighting_record.weights.shape == (7, 3)
    first, second = split_batch(batch(7))
    assert len(first['inputs']) == len(first['data_samples']) == 4
    assert len(second['inputs']) == len(second['data_samples']) == 3


def test_batch_of_one_is_refused(build):
    model = build()
    with pytest.raises(ValueError, match='one of 1: set.*batch_size.*drop_last=True'):
        model.train_step(batch(1), optimizers(model))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_bad_loss_stops_before_anything_is_stepped_on(build, value):
    model = build()
    wrappers = optimizers(model)
    with torch.no_grad():
        model.head.exits[1].linear.bias[0] = value
    before = {n: v.clone() for n, v in model.named_parameters()}
    error = 'sample 0 of the half batch at exit 2 is'
    with pytest.raises(NonFiniteLossError, match=error):
        model.train_step(batch(), wrappers)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.nan_to_num(), before[name].nan_to_num()), name


def test_pseudo_step_that_explodes_stops_too(build):
    model = build()
    before = copy.deepcopy(model.state_dict())
    wrappers = optimizers(model, dict(type='SGD', lr=1e300))
    with pytest.raises(NonFiniteLossError, match='after the pseudo step'):
        model.train_step(batch(), wrappers)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(wpn=dict(num_exits=5)), 'the WPN is built for 5 exits, the net has 3'),
        (dict(target=[0.5, 0.5]), '3 exits need 3 shares, got 2'),
        (dict(target=[0.9, 0.9, -0.8]), 'must not be negative'),
        (dict(target=0), 'p must be positive'),
        (dict(meta_interval=0), 'meta_interval=0: must be at least 1'),
        (dict(wpn_loss='smooth'), "wpn_loss='smooth': choose one of"),
        (
            dict(head=dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1))),
            "say which of them the WPN sees, wpn_loss='real' or 'plain'",
        ),
    ],
)
def test_bad_settings_are_refused(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_bad_optimizers_are_refused(build):
    model = build()
    single = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match='needs two optimizers'):
        model.train_step(batch(), single)
    with pytest.raises(ValueError, match='needs two optimizers'):
        check_optimizers(OptimWrapperDict(model=single, other=single))
    with pytest.raises(ValueError, match='clip_grad is not supported'):
        check_optimizers(optimizers(model, clip_grad=dict(max_norm=1)))
    with pytest.raises(ValueError, match='wpn.accumulative_counts must be 1'):
        check_optimizers(optimizers(model, wpn=dict(accumulative_counts=2)))
    with pytest.raises(ValueError, match='that of SGD'):
        model.train_step(batch(), optimizers(model, dict(type='Adam', lr=1e-3)))


def test_label_smoothing_in_the_real_loss(build):
    smooth = dict(type='LabelSmoothLoss', label_smooth_val=0.2, num_classes=4)
    seen = {}
    for choice in l2w_classifier.WPN_LOSSES:
        model = build(head=dict(loss=smooth), wpn_loss=choice)
        model.wpn.register_forward_pre_hook(
            lambda module, args, c=choice: seen.setdefault(c, args[0])
        )
        step = model.half_step(*halves(), optimizers(model))
        plain = l2w_classifier.plain_losses(step.logits, halves()[0][1])
        uniform = -step.logits.log_softmax(-1).mean(-1).t()
        assert torch.allclose(step.losses, 0.8 * plain + 0.2 * uniform)
        expected = dict(real=step.losses, plain=plain)[choice]
        assert torch.allclose(seen[choice], expected)
        assert torch.allclose(step.weighted, (step.weights * step.losses).mean(0))


def test_mixup_stays_within_the_halves(build):
    augments = dict(augments=dict(type='Mixup', alpha=1.0), probs=1.0)
    preprocessor = dict(num_classes=4, batch_augments=augments)
    soft = dict(type='CrossEntropyLoss', use_soft=True)
    model = build(
        dtype=torch.float32, data_preprocessor=preprocessor, head=dict(loss=soft)
    )
    data = batch()
    data['inputs'][:4], data['inputs'][4:] = 0, 1
    parts = [model._prepare(half) for half in split_batch(data)]
    assert (parts[0][0] == 0).all() and (parts[1][0] - 1).abs().max() < 1e-6
    assert parts[0][1].shape == (4, 4)
    mixed = parts[0][1]
    assert ((mixed > 0) & (mixed < 1)).any()
    assert torch.allclose(mixed.sum(1), torch.ones(4))
    logs = model.train_step(batch(), optimizers(model))
    assert torch.isfinite(logs['meta_loss'])


def test_exit_weights_of_the_head_apply_besides(build):
    weights = [1.0, 0.5, 2.0]
    model = build(head=dict(loss_weights=weights))
    wrappers = optimizers(model)
    _, step = wpn_gradients(model, wrappers, *halves())
    expected = (step.weights * step.losses).mean(0) * torch.tensor(weights)
    assert torch.allclose(step.weighted, expected.double())

    plain = build()
    _, other = wpn_gradients(plain, optimizers(plain), *halves())
    # with equal exits the two would have the same gradient
    assert not torch.allclose(
        step.lookahead.weight_gradient, other.lookahead.weight_gradient
    )


def test_weights_are_of_the_updated_wpn(build):
    model = build()
    step = model.half_step(*halves(), optimizers(model))
    expected = centre_weights(model.wpn(step.losses), 0.8, 'col')
    assert torch.allclose(step.weights, expected)
    assert not torch.allclose(step.weights, step.lookahead.weights)
