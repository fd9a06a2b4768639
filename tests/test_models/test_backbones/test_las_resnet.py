"""LASNet's backbones: plain networks where all is kept, execute equals simulate."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmpretrain.models.backbones import ResNet

from dynnet.models.backbones.las_resnet import LASRegNet, LASResNet, LASResNetCIFAR
from dynnet.models.backbones.regnet_y import RegNetY
from dynnet.models.gates import measure_gates, set_execution
from dynnet.ops.sparse_conv import BACKENDS, unavailable
from dynnet.utils.errors import ConfigError

SMALL = dict(stem_channels=8, base_channels=8, out_indices=(0, 1, 2, 3))
REGNET = dict(w0=16, wa=16, wm=2, group_w=8, depth=8, bot_mul=1.0)


def settle(net):
    """BNs that matter, and gates that keep some and skip some."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                values.data.uniform_(0.5, 1.5, generator=generator)
            for values in (module.bias, module.running_mean):
                values.data.normal_(0, 0.2, generator=generator)
    for block in net.gated_blocks:
        block.gate.conv.weight.data.normal_(0, 3, generator=generator)
        block.gate.conv.bias.data.zero_()

    def centre(gate, args):
        with torch.no_grad():
            logits = gate.logits(*args)
            gap = (logits[:, :1] - logits[:, 1:]).median()
            gate.conv.bias[0] -= gap  # half of the patches are kept

    hooks = [b.gate.register_forward_pre_hook(centre) for b in net.gated_blocks]
    net.eval()
    with torch.no_grad():
        net(torch.randn(2, 3, 64, 64, generator=generator))
    for hook in hooks:
        hook.remove()
    return net


def build(kind: str, granularity):
    torch.manual_seed(0)
    if kind in ('regnet', 'active'):
        squeeze = 'active' if kind == 'active' else 'map'
        return LASRegNet(REGNET, granularity=granularity, squeeze=squeeze)
    cls = LASResNetCIFAR if kind == 'cifar' else LASResNet
    return cls(18 if kind == 'basic' else 50, granularity=granularity, **SMALL)


@pytest.fixture(scope='module')
def nets():
    made = {}

    def get(kind, granularity=(4, 4, 2, 1)):
        key = kind, granularity
        if key not in made:
            made[key] = settle(build(kind, granularity))
        return made[key]

    return get


@pytest.mark.parametrize(
    ('cls', 'depth'), [(LASResNet, 50), (LASResNet, 18), (LASRegNet, None)]
)
def test_open_gates_give_the_plain_network(cls, depth):
    torch.manual_seed(0)
    if cls is LASRegNet:
        gated, plain = LASRegNet(REGNET), RegNetY(REGNET)
    else:
        gated, plain = LASResNet(depth, **SMALL), ResNet(depth, **SMALL)
    missing, unused = plain.load_state_dict(gated.state_dict(), strict=False)
    assert not missing and all('.gate.conv.' in name for name in unused)
    for block in gated.gated_blocks:
        block.gate.conv.weight.data.zero_()
    x = torch.randn(2, 3, 65, 48)
    gated.eval()
    plain.eval()
    with torch.no_grad():
        for ours, theirs in zip(gated(x), plain(x)):
            torch.testing.assert_close(ours, theirs)


def test_closed_gates_leave_the_identity():
    net = build('resnet', 4)
    for block in net.gated_blocks:
        block.gate.conv.weight.data.zero_()
        block.gate.conv.bias.data[:] = torch.tensor([0.0, 1.0])
    net.eval()
    block = net.layer2[1]
    x = torch.rand(2, 64, 9, 7)
    with torch.no_grad(), measure_gates() as meter:
        assert torch.equal(block(x), x)
    assert meter.densities.eq(0).all()
    assert meter.macs == meter.records[0].costs.gate


KINDS = [
    ('resnet', (4, 4, 2, 1), (1, 3, 64, 64)),
    ('resnet', (8, 4, 7, 1), (3, 3, 97, 130)),
    ('resnet', (1, 1, 1, 1), (2, 3, 33, 40)),
    ('cifar', (2, 3, 4, 50), (8, 3, 32, 31)),
    ('regnet', (4, 4, 2, 1), (2, 3, 66, 96)),
    ('active', (4, 3, 2, 1), (2, 3, 66, 96)),
    ('basic', (4, 3, 2, 9), (2, 3, 65, 96)),
]


@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
@pytest.mark.parametrize('kind, granularity, shape', KINDS)
def test_execute_equals_simulate(nets, kind, granularity, shape, backend):
    if backend != 'auto' and (backend == 'mmcv' or unavailable(backend)):
        pytest.skip(f'{backend} cannot run here')
    net = nets(kind, granularity)
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    kept = x.clone()
    with torch.inference_mode():
        set_execution(net, 'simulate')
        with measure_gates() as simulated:
            expected = net(x)
        set_execution(net, 'execute', backend)
        with measure_gates() as executed:
            feats = net(x)
        set_execution(net, 'simulate')
    assert torch.equal(x, kept)
    assert 0.05 < simulated.densities.mean() < 0.95
    for a, b in zip(executed.records, simulated.records):
        # A logit within rounding of a tie may fall to the other side.
        assert (a.gate.coarse != b.gate.coarse).float().mean() < 0.02
    same = all(
        torch.equal(a.gate.coarse, b.gate.coarse)
        for a, b in zip(executed.records, simulated.records)
    )
    assert same
    for ours, theirs in zip(feats, expected):
        scale = theirs.abs().max()
        assert (ours - theirs).abs().max() <= 1e-4 * scale
    assert torch.equal(executed.sample_macs, simulated.sample_macs)


def test_execution_leaves_what_others_keep(nets):
    """Stage outputs and what a hook has seen stay as they were."""
    net = copy.deepcopy(nets('resnet'))
    x = torch.randn(2, 3, 64, 64)
    seen, copies = [], []

    def keep(block, args, out):
        seen.append(out)
        copies.append(out.clone())

    net.layer1[1].register_forward_hook(keep)
    set_execution(net, 'execute', 'torch')
    with torch.inference_mode():
        net(x)
    assert torch.equal(seen[0], copies[0])


def test_training_and_gradients_never_execute(nets):
    net = copy.deepcopy(nets('resnet'))
    set_execution(net, 'execute')
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    net(x)[-1].sum().backward()  # in eval mode
    assert x.grad.abs().sum() > 0
    net.train()
    assert net(x)[-1].requires_grad


def test_execution_follows_changed_weights(nets):
    net = copy.deepcopy(nets('resnet'))
    x = torch.randn(1, 3, 64, 64)
    set_execution(net, 'execute')
    with torch.inference_mode():
        net(x)
    with torch.no_grad():
        for block in net.gated_blocks:
            block.conv3.weight.mul_(1.5)
            block.bn2.running_mean.add_(0.1)
    with torch.inference_mode():
        feats = net(x)
        set_execution(net, 'simulate')
        for ours, theirs in zip(feats, net(x)):
            assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_frozen_stages_decide_without_noise():
    net = LASResNet(50, frozen_stages=1, norm_eval=True, **SMALL)
    net.train()
    assert not net.layer1[0].gate.training and net.layer2[0].gate.training
    assert not any(p.requires_grad for p in net.layer1.parameters())
    assert all(p.requires_grad for p in net.layer2[0].gate.parameters())
    x = torch.randn(2, 3, 32, 32)
    with measure_gates() as meter:
        net(x)
    grads = [record.gate.density.requires_grad for record in meter.records]
    assert grads == [False] * 3 + [True] * 13


def test_checkpointing_gives_the_same_gradients():
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        net = LASResNet(50, with_cp=with_cp, frozen_stages=0, **SMALL)
        net.eval()
        x = torch.randn(2, 3, 32, 32, requires_grad=True)
        net(x)[-1].sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


def test_only_active_positions_are_squeezed(nets):
    """The approximation: equal where all is kept, else by the formula."""
    blocks = nets('active').gated_blocks
    block = next(block for block in blocks if block.downsample is None)
    x = torch.randn(2, block.in_channels, 7, 6)
    out = torch.randn(2, block.mid_channels, 7, 6)
    ones = torch.ones(2, 1, 7, 6)
    mask = (torch.rand(2, 1, 7, 6) < 0.3).float()
    mask[1] = 0
    with torch.no_grad():
        assert torch.allclose(block.excite(out, ones), block.se(out), atol=1e-6)
        kept = out[0, :, mask[0, 0] > 0].mean(1)[None, :, None, None]
        weight = block.se.conv2(block.se.conv1(kept))
        ours = block.excite(out, mask)
        assert torch.allclose(ours[:1], out[:1] * weight, atol=1e-5)
        assert ours.isfinite().all()
        differs = block.residual(x, mask) - block.residual(x)
        assert differs.abs().max() > 1e-3
    with pytest.raises(ConfigError, match="choose 'map' or 'active'"):
        LASRegNet(REGNET, squeeze='patch')


def test_costs_of_basic_blocks(nets):
    """The first convolution is needed at the mask's dilation in the output map."""
    block = nets('basic', (4, 3, 2, 9)).layer2[0]
    x = torch.randn(3, 8, 11, 12)  # an odd side
    with torch.no_grad(), measure_gates() as meter:
        block(x)
    (record,) = meter.records
    mask = record.gate.mask
    assert mask.shape == (3, 1, 6, 6)
    near = torch.nn.functional.max_pool2d(mask, 3, 1, 1)
    each = 9 * 8 * 16 * near.sum((1, 2, 3)) + 9 * 16 * 16 * mask.sum((1, 2, 3))
    each += 8 * 16 * 6 * 6 + record.costs.gate
    assert torch.allclose(record.sample_macs, each)


@pytest.mark.skipif(unavailable('cpp') is not None, reason='no kernels')
@pytest.mark.parametrize('kind', ['resnet', 'basic', 'regnet'])
def test_fused_gates(nets, kind, monkeypatch):
    """One pass instead of three: the same decisions but for near-ties; opt-in."""
    from dynnet.ops.sparse_conv import cpp

    calls = []
    fused = cpp.gate
    monkeypatch.setattr(cpp, 'gate', lambda *a: calls.append(1) or fused(*a))
    net = copy.deepcopy(nets(kind))
    x = torch.randn(2, 3, 65, 50)

    def run(**settings):
        set_execution(net, 'execute', **settings)
        with torch.inference_mode(), measure_gates() as meter:
            return net(x), meter

    expected, plain = run()
    assert not calls
    feats, meter = run(fused_gates=True)
    assert len(calls) == len(net.gated_blocks) == len(meter.records)
    for ours, theirs in zip(meter.records, plain.records):
        assert torch.equal(ours.gate.coarse, theirs.gate.coarse)  # no near-ties here
    for a, b in zip(feats, expected):
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()
    # Whoever simulates, trains or has no such kernel gets the plain gate.
    calls.clear()
    set_execution(net, 'simulate', fused_gates=True)
    with torch.inference_mode():
        net(x)
    set_execution(net, 'execute', fused_gates=True)
    net(x)  # with gradients
    net(x[:0])
    assert not calls


def test_a_checkpoint_of_another_granularity(nets):
    """A gate has the same parameters for every S: it decides for the config's
    patches. Another number of groups is another network, and named."""
    trained = nets('resnet', (4, 4, 2, 1))
    other = build('resnet', (8, 4, 7, 1))
    other.load_state_dict(trained.state_dict())
    other.eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad(), measure_gates() as meter:
        other(x)
    shapes = {r.gate.coarse.shape[2:] for r in meter.records[:3]}
    assert shapes == {(2, 3)}  # a map of 16 x 24 in patches of 8
    first = other.layer1[0]
    with torch.no_grad():
        start = other.maxpool(other.relu(other.norm1(other.conv1(x))))
        pooled = torch.nn.functional.avg_pool2d(start, 8)
        keep, skip = first.gate.conv(pooled).chunk(2, 1)
    assert torch.equal(meter.records[0].gate.coarse, (keep >= skip).float())
    grouped = LASResNet(50, gate=dict(groups=2), **SMALL)
    with pytest.raises(RuntimeError, match='layer1.0.gate.conv.weight'):
        grouped.load_state_dict(trained.state_dict())


def test_layer_gates_and_records():
    net = LASResNet(50, gate=dict(type='dynnet.LayerGate'), **SMALL)
    net.eval()
    with torch.no_grad(), measure_gates() as meter:
        net(torch.randn(2, 3, 64, 64))
    assert all(r.gate.coarse.shape == (2, 1, 1, 1) for r in meter.records)
    assert meter.records[3].name == 'layer2.0'


def test_init_weights_keeps_the_gates_open():
    net = LASResNet(50, **SMALL)
    net.init_weights()
    assert all(b.gate.conv.bias[0] == 5 for b in net.gated_blocks)
    regnet = LASRegNet(REGNET)
    regnet.init_weights()
    assert all(b.gate.conv.bias[0] == 10 for b in regnet.gated_blocks)


def test_empty_batch(nets):
    net = nets('resnet')
    for mode in ('simulate', 'execute'):
        set_execution(net, mode)
        with torch.inference_mode():
            assert net(torch.empty(0, 3, 64, 64))[-1].shape == (0, 256, 2, 2)
    set_execution(net, 'simulate')


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(depth=18, dilations=(1, 1, 1, 2), strides=(1, 2, 2, 1)), 'dilation 1'),
        (dict(depth=50, granularity=(4, 4)), 'one entry for each of the 4 stages'),
        (dict(depth=50, dilations=(1, 1, 1, 2), strides=(1, 2, 2, 1)), 'dilation 2'),
        (dict(depth=50, style='caffe'), "style 'caffe'"),
        (dict(depth=50, granularity=0), 'granularity'),
    ],
)
def test_refuses_what_cannot_be_gated(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        LASResNet(base_channels=8, **kwargs)


def test_refuses_unknown_settings():
    with pytest.raises(ConfigError, match='regnety_400mf, regnety_800mf'):
        LASRegNet('regnety_4gf')
    net = build('resnet', 4)
    with pytest.raises(ConfigError, match="'simulate' or 'execute'"):
        set_execution(net, 'both')
    with pytest.raises(ConfigError, match='choose from auto, cpp'):
        set_execution(net, 'execute', 'onnx')
