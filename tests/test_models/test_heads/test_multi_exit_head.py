"""MultiExitHead: one classifier per exit, and the loss over all of them."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmpretrain.models import CrossEntropyLoss
from mmpretrain.structures import DataSample

from dynnet.models.heads import ConvExit, LinearExit, MultiExitHead
from dynnet.models.heads.multi_exit_head import gather_target
from dynnet.utils.errors import ConfigError

WIDTHS = (6, 4, 5)
LINEAR = dict(type='dynnet.LinearExit')


def features(n=3):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, c, 4, 4, generator=generator) for c in WIDTHS]


def labelled(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def by_hand(logits, target):
    return -logits.log_softmax(1)[torch.arange(len(target)), target].mean()


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MultiExitHead(3, WIDTHS, LINEAR, loss_weights=(0.5, 1, 2))


def test_forward(head):
    feats = features()
    logits = head(feats)
    assert head.num_exits == len(logits) == 3
    for k, (branch, feat, got) in enumerate(zip(head.exits, feats, logits)):
        assert got.shape == (3, 3)
        assert torch.equal(got, branch(feat))
        assert torch.equal(got, head.forward_exit(k, feat))


def test_every_exit_needs_its_feature(head):
    with pytest.raises(ValueError):
        head(features()[:2])
    with pytest.raises(ValueError):
        head.loss(features() + features()[:1], labelled(0, 1, 2))


def test_weighted_losses(head):
    target = torch.tensor([2, 0, 1])
    losses = head.loss(features(), labelled(2, 0, 1))
    parts = [by_hand(logits, target) for logits in head(features())]
    assert list(losses) == ['loss_exit1', 'loss_exit2', 'loss_exit3']
    for loss, part, weight in zip(losses.values(), parts, (0.5, 1, 2)):
        torch.testing.assert_close(loss, weight * part)
    total = 0.5 * parts[0] + parts[1] + 2 * parts[2]
    torch.testing.assert_close(sum(losses.values()), total)


def test_plain_sum_by_default():
    head = MultiExitHead(3, WIDTHS, LINEAR)
    losses = head.loss(features(), labelled(2, 0, 1))
    parts = [by_hand(logits, torch.tensor([2, 0, 1])) for logits in head(features())]
    torch.testing.assert_close(sum(losses.values()), sum(parts))


@pytest.mark.parametrize('use_soft', [False, True])
def test_scores_after_mixup(use_soft):
    loss = dict(type='mmpretrain.CrossEntropyLoss', use_soft=use_soft)
    head = MultiExitHead(3, WIDTHS, LINEAR, loss=loss)
    scores = torch.tensor([[0.3, 0.7, 0.0], [1.0, 0.0, 0.0], [0.2, 0.2, 0.6]])
    samples = labelled(1, 0, 2)
    for sample, score in zip(samples, scores):
        sample.set_gt_score(score)
    losses = head.loss(features(), samples)
    for loss, logits in zip(losses.values(), head(features())):
        expected = -(scores * logits.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(loss, expected)


def test_a_loss_module_and_other_losses():
    module = CrossEntropyLoss(loss_weight=3.0)
    head = MultiExitHead(3, WIDTHS, LINEAR, loss=module)
    assert head.loss_module is module
    loss = head.loss(features(), labelled(2, 0, 1))['loss_exit2']
    expected = 3 * by_hand(head(features())[1], torch.tensor([2, 0, 1]))
    torch.testing.assert_close(loss, expected)
    smooth = dict(type='mmpretrain.LabelSmoothLoss', label_smooth_val=0.1)
    head = MultiExitHead(3, WIDTHS, LINEAR, loss=smooth)
    for loss in head.loss(features(), labelled(2, 0, 1)).values():
        assert loss.isfinite() and loss > 0


def test_every_exit_its_own_classifier():
    exits = [LINEAR, dict(type='dynnet.ConvExit', channels=7), LINEAR]
    head = MultiExitHead(3, WIDTHS, exits, topk=5)
    kinds = [type(branch) for branch in head.exits]
    assert kinds == [LinearExit, ConvExit, LinearExit]
    assert head.exits[1].linear.in_features == 7
    assert head.topk == (5,)


def test_default_exit_is_the_published_one():
    head = MultiExitHead(3, (4,))
    assert isinstance(head.exits[0], ConvExit)
    assert head.exits[0].linear.in_features == 128


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(exit=[LINEAR] * 2), '2 exit configs for 3 exits'),
        (dict(exit=LINEAR, loss_weights=[1, 1]), '2 loss_weights for 3 exits'),
        (dict(exit=LINEAR, loss_weights=[]), '0 loss_weights for 3 exits'),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ConfigError, match=message):
        MultiExitHead(3, WIDTHS, **settings)


@pytest.mark.parametrize('label', [3, -1, 255])
def test_a_label_outside_of_the_classes(head, label):
    samples = labelled(0, label, 1)
    text = f'label {label} is outside of the 3 classes'
    with pytest.raises(ConfigError, match=f'sample 1 of the batch: {text}'):
        head.loss(features(), samples)
    samples[1].set_field(1234, 'sample_idx', field_type='metainfo')
    with pytest.raises(ConfigError, match=f'sample 1234: {text}'):
        gather_target(samples, 3)
    samples[1].set_field('a/b.png', 'img_path', field_type='metainfo')
    with pytest.raises(ConfigError, match=f'^a/b.png: {text}$'):
        gather_target(samples, 3)
