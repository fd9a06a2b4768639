"""Leaving early for real gives what the simulation says, with less work."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmpretrain')

from dynnet.models.backbones.msdnet import MSDLayer, MSDTransition
from dynnet.models.backbones.ranet import RANetBlock
from dynnet.models.classifiers import run_early_exit, run_to_exit
from dynnet.models.exits import (
    Entropy,
    Margin,
    MaxSoftmax,
    Patience,
    assign_exits,
)

NEVER = float('inf')
CRITERIA = [MaxSoftmax(), Margin(), Entropy(), Patience(2)]
# The nets that differ in how they run; the others differ in their layers.
NETS = ['ranet-123', 'ranet-1233', 'msdnet-max', 'msdnet-min', 'resnet']


@pytest.fixture(scope='module')
def table(shared_net, pictures):
    """Logits (E, 64, C) of all exits, per net; computed once."""
    known = {}

    @torch.no_grad()
    def logits(name):
        if name not in known:
            known[name] = shared_net(name)(pictures)
        return known[name]

    return logits


def between_samples(criterion, logits):
    """Thresholds in the middle of gaps: at each exit about a third leaves."""
    if not criterion.solvable:
        return [2.0] * (len(logits) - 1)
    scores, thresholds = criterion.score_all(logits), []
    stay = torch.ones(scores.shape[1], dtype=torch.bool)
    for row in scores[:-1]:
        rest = row[stay].sort().values
        if len(rest) < 4:
            thresholds.append(NEVER)
            continue
        low, high = len(rest) // 2, 5 * len(rest) // 6
        gap = low + int(rest[low : high + 2].diff().argmax())
        thresholds.append(float(rest[gap] + rest[gap + 1]) / 2)
        stay &= row < thresholds[-1]
    return thresholds


def away_from_ties(criterion, logits, thresholds):
    """Samples (N,) whose exit does not hang on the last bits of their logits."""
    if criterion.solvable:
        gaps = criterion.score_all(logits)[:-1] - torch.tensor(thresholds)[:, None]
    else:  # it counts exits that agree: integers, but of labels
        top = logits.topk(2, dim=2).values
        gaps = top[..., 0] - top[..., 1]
    return (gaps.abs() > 1e-5).all(0)


def check(net, criterion, thresholds, x, logits):
    """Compare samples away from ties; return how many there are."""
    with torch.no_grad():
        got, exits = run_early_exit(net.backbone, net.head, criterion, thresholds, x)
    scores = criterion.score_all(logits)
    clear = away_from_ties(criterion, logits, thresholds)
    expected = assign_exits(scores, thresholds)
    chosen = logits[expected, torch.arange(len(x))]
    assert got.shape == (len(x), logits.shape[2]) and exits.dtype == torch.int64
    assert torch.equal(exits[clear], expected[clear])
    assert torch.equal(got.argmax(1)[clear], chosen.argmax(1)[clear])
    scale = max(1.0, float(logits.abs().max()))
    assert (got - chosen)[clear].abs().max() <= 1e-5 * scale
    return int(clear.sum())


@pytest.mark.parametrize('criterion', CRITERIA, ids=lambda c: type(c).__name__)
def test_execute_equals_simulate(shared_net, net_name, criterion, table, pictures):
    net, logits = shared_net(net_name), table(net_name)
    some = between_samples(criterion, logits)
    used = assign_exits(criterion.score_all(logits), some).unique()
    possible = net.num_exits if criterion.solvable else net.num_exits - 1
    assert len(used) == possible  # otherwise the thresholds test too little
    assert len(logits.argmax(2).unique(dim=1).t()) > 9
    everybody, nobody = ([v] * (len(logits) - 1) for v in (-1.0, NEVER))
    clear = 0
    for thresholds in (some, everybody, nobody):
        clear += check(net, criterion, thresholds, pictures, logits)
        for start in (0, 7):
            rows = slice(start, start + 7)
            check(net, criterion, thresholds, pictures[rows], logits[:, rows])
    assert clear >= 3 * 62
    for i in range(5):
        check(net, criterion, some, pictures[i : i + 1], logits[:, i : i + 1])


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_thresholds(shared_net, table, pictures, data):
    name = data.draw(st.sampled_from(NETS))
    criterion = data.draw(st.sampled_from(CRITERIA))
    net, logits = shared_net(name), table(name)
    limit = (
        st.floats(-0.25, 1.25, width=32) if criterion.solvable else st.integers(1, 5)
    )
    limit = st.one_of(limit, st.just(NEVER))
    size = len(logits) - 1
    thresholds = data.draw(st.lists(limit, min_size=size, max_size=size))
    rows = data.draw(st.lists(st.integers(0, 63), min_size=1, max_size=9))
    index = torch.tensor(rows)
    if away_from_ties(criterion, logits[:, index], thresholds).any():
        check(net, criterion, thresholds, pictures[index], logits[:, index])


def test_thresholds_are_inclusive(shared_net, pictures):
    """Compared in float32, as the simulation does: 0.7 is not a float32."""

    class Fixed(MaxSoftmax):
        def __call__(self, logits, memory=None):
            return torch.full((len(logits),), 0.7), None

    net = shared_net('resnet')
    with torch.no_grad():
        for limit, expected in [(0.7, 0), (0.70001, 3)]:
            limits = [limit] * 3
            _, exits = run_early_exit(
                net.backbone, net.head, Fixed(), limits, pictures[:2]
            )
            assert exits.tolist() == [expected] * 2
            scores = torch.full((4, 2), 0.7)
            assert torch.equal(assign_exits(scores, limits), exits)


def test_an_empty_batch(shared_net, net_name):
    net = shared_net(net_name)
    thresholds = [0.5] * (net.num_exits - 1)
    with torch.no_grad():
        logits, exits = run_early_exit(
            net.backbone, net.head, MaxSoftmax(), thresholds, torch.empty(0, 3, 32, 32)
        )
    assert logits.shape == (0, 4) and exits.shape == (0,)


def record(net):
    """Note every block and exit that runs, with the size of its batch."""
    events = []

    def size(value):
        while isinstance(value, (tuple, list)):
            value = value[0]
        return len(value if torch.is_tensor(value) else value.prefix())

    def listen(module, kind):
        module.register_forward_pre_hook(
            lambda module, inputs: events.append((kind, size(inputs)))
        )

    parts = (RANetBlock, MSDLayer, MSDTransition)
    blocks = [m for m in net.backbone.modules() if isinstance(m, parts)]
    inner = getattr(net.backbone, 'backbone', None)
    for module in blocks or [getattr(inner, f'layer{i}') for i in (1, 2, 3, 4)]:
        listen(module, 'block')
    for k, module in enumerate(net.head.exits):
        listen(module, k)
    return events


@pytest.mark.parametrize('grad', [False, True])
def test_later_exits_see_only_the_samples_that_stay(
    make_net, net_name, table, pictures, grad
):
    net, logits = make_net(net_name), table(net_name)
    events = record(net)
    thresholds = between_samples(MaxSoftmax(), logits)
    half = thresholds[: len(thresholds) // 2]  # then everybody leaves
    for limits in (thresholds, [*half, *[-1.0] * (len(thresholds) - len(half))]):
        events.clear()
        with torch.set_grad_enabled(grad):
            _, exits = run_early_exit(
                net.backbone, net.head, MaxSoftmax(), limits, pictures
            )
        stays = [int((exits >= k).sum()) for k in range(net.num_exits)]
        stays = [stay for stay in stays if stay]
        heads = [event for event in events if event[0] != 'block']
        assert heads == list(enumerate(stays))
        k = 0
        for kind, size in events:
            assert size == stays[k]
            k += kind != 'block'
        assert events[-1] == heads[-1]  # nothing runs after the last one left
        assert len(events) >= 2 * len(heads)
    assert len(stays) == len(half) + 1 < net.num_exits


def macs_of(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2


def test_the_work_done_is_the_sum_of_the_samples_costs(
    make_net, net_name, table, pictures
):
    """Counted where PyTorch dispatches its kernels, not by our own counter."""
    net = make_net(net_name)
    costs = net.measure_costs((3, 32, 32))
    net.set_thresholds(between_samples(MaxSoftmax(), table(net_name)))
    net.mode = 'execute'
    for x in (pictures, pictures[:1]):
        done = macs_of(lambda x=x: net.predict(x))
        with torch.no_grad():
            samples = net.predict(x)
        assert done == sum(float(sample.cost) for sample in samples)
        exits = [int(sample.exit_index) for sample in samples]
        assert done == sum(costs.macs[k] for k in exits)
    net.mode = 'simulate'
    assert macs_of(lambda: net.predict(pictures)) == 64 * costs.macs[-1]
    net.mode = 'exit=2'
    with torch.no_grad():
        cost = float(net.predict(pictures[:1])[0].cost)
    assert macs_of(lambda: net.predict(pictures[:3])) == 3 * cost
    assert cost == costs.macs[1] - costs.head_macs[0]


def test_run_to_exit(shared_net, table, pictures):
    net, logits = shared_net('msdnet-max'), table('msdnet-max')
    with torch.no_grad():
        for k in range(net.num_exits):
            got = run_to_exit(net.backbone, net.head, k, pictures[:5])
            torch.testing.assert_close(got, logits[k, :5], rtol=1e-4, atol=1e-4)
        with pytest.raises(IndexError, match='exit 4 of 4'):
            run_to_exit(net.backbone, net.head, 4, pictures[:1])
