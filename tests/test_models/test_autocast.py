"""Mixed precision: what must stay float32 does, also where only a CPU is at hand.

mmengine's AMP wrapper refuses CPUs; ``torch.autocast`` does not.
"""

import pytest
import torch

from dynnet.models.exits import Entropy, Margin, MaxSoftmax, Patience

CRITERIA = [MaxSoftmax(), Margin(), Entropy(), Patience(2)]


@pytest.mark.parametrize('criterion', CRITERIA, ids=lambda c: type(c).__name__)
def test_scores_are_float32_and_do_not_tie(criterion):
    # Confidences that differ by 1e-4: in bfloat16 they would all be 1.
    sure = torch.linspace(6, 12, 32)
    logits = torch.stack([sure, torch.zeros(32), -torch.ones(32)], 1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        scores = criterion.score_all(logits.expand(3, -1, -1))
    plain = criterion.score_all(logits.expand(3, -1, -1))
    assert scores.dtype == torch.float32
    assert torch.equal(scores, plain)
    if criterion.solvable:
        assert len(scores[0].unique()) == 32
        assert len(scores[0].bfloat16().unique()) < 8


@pytest.mark.parametrize('criterion', CRITERIA, ids=lambda c: type(c).__name__)
def test_half_precision_logits_give_float32_scores(criterion):
    logits = torch.randn(3, 8, 5).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        scores = criterion.score_all(logits)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, criterion.score_all(logits.float()))


@pytest.fixture(params=['RANet', 'MSDNet'])
def model(request):
    pytest.importorskip('mmpretrain')
    from mmengine.registry import DefaultScope

    from dynnet.registry import MODELS

    sizes = dict(num_blocks=2, base_channels=4, growth_rate=4)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(
            dict(
                type='dynnet.MultiExitClassifier',
                backbone=dict(type=f'dynnet.{request.param}', **sizes),
                head=dict(
                    type='dynnet.MultiExitHead',
                    num_classes=4,
                    exit=dict(type='dynnet.ConvExit', channels=8),
                ),
            )
        )


def samples(n):
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(i % 4) for i in range(n)]


def test_training_loss(model):
    x = torch.randn(16, 3, 16, 16)
    model.train()
    plain = model(x, samples(16), mode='loss')
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = model(x, samples(16), mode='loss')
        assert model(x).dtype == torch.bfloat16  # autocast was really on
    assert half.keys() == plain.keys()
    for name, loss in half.items():
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert loss.item() == pytest.approx(plain[name].item(), rel=0.02)
    sum(half.values()).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert grads
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in grads)


@pytest.mark.parametrize('mode', ['simulate', 'execute', 'exit=1'])
def test_prediction(model, mode):
    x = torch.randn(12, 3, 16, 16)
    with torch.no_grad():
        for _ in range(20):  # statistics that keep untrained features at scale 1
            model.train()(x)
    model.eval()
    model.mode = 'simulate'
    with torch.no_grad():
        scores = torch.stack([s.exit_scores for s in model.predict(x)])
        thresholds = (scores.median(0).values[:-1] + 1e-3).tolist()
        model.set_thresholds(thresholds)
        model.mode = mode
        plain = model.predict(x)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = model.predict(x)
    for a, b in zip(plain, half):
        assert b.pred_score.dtype == torch.float32
        assert float(b.pred_score.sum()) == pytest.approx(1, abs=1e-5)
        if mode == 'simulate':
            assert b.exit_scores.dtype == b.exit_confs.dtype == torch.float32
            assert torch.allclose(a.exit_scores, b.exit_scores, atol=0.02)
