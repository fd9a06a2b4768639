"""SingleExitHead: an exit's classifier as a plain mmpretrain head."""

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN
from mmpretrain.structures import DataSample

import dynnet  # noqa: F401


@pytest.fixture
def head():
    torch.manual_seed(0)
    return MMPRETRAIN.build(
        dict(
            type='dynnet.SingleExitHead',
            num_classes=3,
            in_channels=4,
            branch=dict(type='dynnet.LinearExit'),
            cal_acc=True,
        )
    )


def test_it_is_a_plain_head(head):
    assert isinstance(head, ClsHead)
    feats = (torch.randn(2, 9, 8, 8), torch.randn(2, 4, 4, 4))  # the last one counts
    logits = head(feats)
    assert torch.equal(logits, head.branch(feats[1]))
    assert list(head.state_dict()) == ['branch.linear.weight', 'branch.linear.bias']


def test_inherited_loss_and_prediction(head):
    feats = (torch.randn(3, 4, 4, 4),)
    samples = [DataSample().set_gt_label(label) for label in (2, 0, 1)]
    logits = head(feats)
    losses = head.loss(feats, samples)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([2, 0, 1]))
    torch.testing.assert_close(losses['loss'], expected)
    assert 'accuracy_top-1' in losses
    for sample, row in zip(head.predict(feats), logits):
        torch.testing.assert_close(sample.pred_score, row.softmax(0))
        assert sample.pred_label.item() == row.argmax()


def test_default_branch_is_the_published_one():
    cfg = dict(type='dynnet.SingleExitHead', num_classes=3, in_channels=4)
    head = MMPRETRAIN.build(cfg)
    assert head.branch.linear.in_features == 128
    assert head(torch.randn(1, 2, 4, 8, 8)).shape == (2, 3)
