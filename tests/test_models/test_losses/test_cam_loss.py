"""CAM-loss: formula, gradients, labels, precision."""

import pytest
import torch

from dynnet.models.losses import CAMLoss
from dynnet.models.losses.soft_labels import class_shares
from dynnet.utils.errors import ConfigError, DataError


def make(n=3, k=4, size=5, classes=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    feat = torch.rand(n, k, size, size, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, k, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (n,), generator=generator)
    return feat.requires_grad_(), weight.requires_grad_(), target


def by_hand(feat, weight, label):
    """The formula for one picture, position by position."""
    caam, cam = feat.sum(0), (weight[label][:, None, None] * feat).sum(0)
    caam = (caam - caam.min()) / (caam.max() - caam.min())
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    return (caam - cam).abs().sum() / caam.numel()


def test_value_is_the_formula():
    feat, weight, target = make()
    expected = 3 * sum(by_hand(f, weight, t) for f, t in zip(feat, target)) / 3
    assert torch.allclose(CAMLoss()(feat, weight, target), expected)
    half = CAMLoss(loss_weight=0.5)(feat, weight, target, avg_factor=6)
    assert torch.allclose(half, expected / 12)


def test_equal_weights_give_zero():
    feat, weight, target = make()
    level = torch.ones_like(weight) * torch.rand(6, 1)
    value = CAMLoss()(feat, level, target).item()
    assert value == pytest.approx(0, abs=1e-12)


def test_weight_gets_no_gradient_unless_asked():
    feat, weight, target = make()
    CAMLoss()(feat, weight, target).backward()
    assert weight.grad is None and (feat.grad != 0).any()
    CAMLoss(detach_weight=False)(feat, weight, target).backward()
    assert (weight.grad != 0).any()


def test_detached_cam_is_a_fixed_target():
    feat, weight, target = make()
    free, fixed = CAMLoss(), CAMLoss(detach_cam=True)
    assert torch.equal(free(feat, weight, target), fixed(feat, weight, target))
    grads = [
        torch.autograd.grad(loss(feat, weight, target), feat)[0]
        for loss in (free, fixed)
    ]
    assert not torch.allclose(*grads)
    # With a fixed target all channels get one gradient: that of their sum.
    assert torch.allclose(grads[1], grads[1][:, :1].expand_as(grads[1]))


def test_blind_to_scale_and_to_offset():
    feat, weight, target = make()
    loss = CAMLoss()
    value = loss(feat, weight, target)
    assert torch.allclose(loss(7 * feat, weight, target), value)
    # The same offset on every position of a channel moves both maps as a whole.
    offset = torch.rand(1, 4, 1, 1, dtype=torch.float64)
    assert torch.allclose(loss(feat + offset, weight, target), value)
    # Euler: along F itself nothing changes, so the gradient is orthogonal to it.
    grad = torch.autograd.grad(value, feat)[0]
    assert float((feat * grad).sum().abs()) < 1e-10 < float(grad.abs().sum())


def test_gradients_are_those_of_finite_differences():
    feat, weight, target = make(n=2, k=3, size=3)
    loss = CAMLoss(detach_weight=False)
    assert torch.autograd.gradcheck(lambda f, w: loss(f, w, target), (feat, weight))


@pytest.mark.parametrize('value', [0.0, 2.5])
def test_constant_maps_are_left_out_and_counted(value):
    feat, weight, target = make()
    feat = feat.detach().float()
    feat[1] = value
    feat.requires_grad_()
    distance, constant = CAMLoss().measure(feat, weight.float(), target)
    assert constant.tolist() == [False, True, False]
    assert distance[1] == 0
    distance.sum().backward()
    assert feat.grad.isfinite().all()
    assert (feat.grad[1] == 0).all() and (feat.grad[0] != 0).any()


def test_no_weight_no_gradient():
    feat, weight, target = make()
    loss = CAMLoss(loss_weight=0)
    value = loss(feat, weight, target)
    assert value == 0 and not value.requires_grad
    assert float(loss.measure(feat, weight, target)[0].sum()) > 0  # still logged


def test_mixed_labels_mix_losses():
    feat, weight, _ = make()
    target = torch.zeros(3, 6)
    target[0, 1] = 1
    target[1, [0, 4]] = torch.tensor([0.3, 0.7])
    target[2, [2, 5]] = torch.tensor([0.9996, 0.0004])  # below what counts
    distance, _ = CAMLoss().measure(feat, weight, target)
    hand = [
        by_hand(feat[0], weight, 1),
        0.3 * by_hand(feat[1], weight, 0) + 0.7 * by_hand(feat[1], weight, 4),
        by_hand(feat[2], weight, 2),
    ]
    assert torch.allclose(distance, torch.stack(hand), atol=1e-6)


def test_mixed_weights_make_one_map():
    feat, weight, _ = make()
    target = torch.zeros(3, 6)
    target[:, [0, 4]] = torch.tensor([0.25, 0.75])
    mixed = 0.25 * weight[:1] + 0.75 * weight[4:5]
    distance, _ = CAMLoss(soft_label='mix_weight').measure(feat, weight, target)
    hand = [by_hand(f, mixed, 0) for f in feat]
    assert torch.allclose(distance, torch.stack(hand), atol=1e-6)


def test_smoothed_labels_can_take_the_largest_class():
    feat, weight, target = make()
    smooth = torch.full((3, 6), 0.02)
    smooth[torch.arange(3), target] = 0.9
    hard = CAMLoss()(feat, weight, target)
    assert torch.equal(CAMLoss(soft_label='argmax')(feat, weight, smooth), hard)
    assert not torch.allclose(CAMLoss()(feat, weight, smooth), hard)


def test_multi_label_averages_over_the_positive_classes():
    feat, weight, _ = make()
    target = torch.zeros(3, 6)
    target[0, [1, 2, 5]] = 1
    target[1, 3] = 1  # and the third picture has no class at all
    distance, constant = CAMLoss().measure(feat, weight, target)
    hand = sum(by_hand(feat[0], weight, c) for c in (1, 2, 5)) / 3
    assert torch.allclose(distance[0], hand, atol=1e-6)
    assert distance[2] == 0 and not constant.any()


def test_one_hot_scores_equal_classes():
    feat, weight, target = make()
    one_hot = torch.nn.functional.one_hot(target, 6)
    loss = CAMLoss()
    assert torch.equal(loss(feat, weight, one_hot), loss(feat, weight, target))
    classes, shares = class_shares(one_hot)
    assert torch.equal(classes[:, 0], target) and (shares == 1).all()


def test_half_precision_is_computed_in_float32():
    """A sum over 2048 channels is beyond float16."""
    feat = 64 * torch.rand(2, 2048, 4, 4)
    weight, target = torch.randn(5, 2048), torch.tensor([0, 3])
    assert feat.half().sum(1).isinf().any()
    plain = CAMLoss()(feat, weight, target)
    half = CAMLoss()(feat.half(), weight.half(), target)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = CAMLoss()(feat, weight, target)
    assert half.dtype == inside.dtype == torch.float32
    assert torch.equal(inside, plain)
    assert float(half) == pytest.approx(float(plain), rel=1e-2)


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(feat=torch.rand(3, 4)), ConfigError, 'neck=None'),
        (dict(feat=torch.rand(3, 4, 1, 1).double()), ConfigError, '1x1'),
        (dict(feat=torch.rand(3, 9, 5, 5)), ConfigError, '9 channels'),
        (dict(target=torch.tensor([0, 6, 1])), DataError, 'label 6 is not between 0'),
        (dict(target=torch.tensor([0, -1, 1])), DataError, 'label -1 is not between'),
        (dict(target=torch.rand(3, 7)), DataError, '7 classes'),
    ],
)
def test_bad_input_is_named(change, error, message):
    feat, weight, target = make()
    given = dict(dict(feat=feat, weight=weight, target=target), **change)
    with pytest.raises(error, match=message):
        CAMLoss()(**given)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(loss_weight=-1), 'loss_weight=-1'),
        (dict(caam='mean'), 'abs_sum'),
        (dict(soft_label='max'), 'mix_loss'),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        CAMLoss(**settings)
