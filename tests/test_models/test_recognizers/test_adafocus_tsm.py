"""AdaFocus with temporal shift: two groups of frames, one patch per clip."""

import pytest
import torch

from dynnet.utils.errors import ConfigError

GLANCE, FOCUS = 2, 3


@pytest.fixture(scope='module')
def tsm_config(small_config):
    cfg = small_config()
    for key in ('num_segments', 'local_head'):
        cfg.pop(key)
    cfg.update(
        type='dynnet.AdaFocusTSM',
        num_glance=GLANCE,
        num_focus=FOCUS,
        cls_head=dict(type='dynnet.FrameMeanHead', in_channels=32, dropout=0.0),
        policy=dict(
            cfg['policy'], in_channels=16 * GLANCE, kind='continuous', with_bn=True
        ),
    )
    return cfg


@pytest.fixture
def make_tsm(tsm_config):
    from .conftest import make

    return lambda **settings: make(dict(tsm_config, **settings))


@pytest.fixture
def streams():
    generator = torch.Generator().manual_seed(0)
    return dict(
        imgs_glance=torch.randn(5, GLANCE, 3, 48, 48, generator=generator),
        imgs_focus=torch.randn(5, FOCUS, 3, 48, 48, generator=generator),
    )


def test_both_forms_of_input_and_the_sum_of_logits(make_tsm, streams):
    net = make_tsm()
    with torch.inference_mode():
        logits = net(streams)
        assert net(torch.cat(list(streams.values()), 1)).equal(logits)
        pair = net.prepare(streams)
        maps = net.glance(pair)
        _, corners = net.run(pair)
        frames, size = streams['imgs_focus'], net.patch_size
        patches = torch.stack(
            [
                clip[:, :, y : y + size, x : x + size]
                for clip, (y, x) in zip(frames, corners.tolist())
            ]
        )
        feats = net.encode_local(patches.flatten(0, 1)).unflatten(0, (5, FOCUS))
        local = net.cls_head.fc(feats).mean(1)
        whole = net.global_head.fc(maps.mean((3, 4))).mean(1)
    torch.testing.assert_close(logits, local + whole)


@pytest.mark.parametrize('stage', ['glance', 'random', 'policy', 'finetune'])
def test_stages_train(make_tsm, streams, samples, stage):
    net = make_tsm(train_cfg=dict(stage=stage, from_scratch=True)).train()
    loss, _ = net.parse_losses(net.loss(streams, samples))
    loss.backward()
    trained = {
        n.partition('.')[0] for n, p in net.named_parameters() if p.requires_grad
    }
    moved = {
        n.partition('.')[0] for n, p in net.named_parameters() if p.grad is not None
    }
    assert trained == moved and trained


def test_bn_of_the_policy_moves_once_per_update(make_tsm, streams, labels):
    net = make_tsm(train_cfg=dict(stage='policy', from_scratch=True)).train()
    rollout = net.rollout(net.prepare(streams), labels)
    counts = []
    for _ in range(3):
        net.policy_losses(rollout)
        counts.append(int(net.policy.encoder[1].num_batches_tracked))
    assert counts == [1, 2, 3]


def test_predictions_and_cost(make_tsm, streams):
    net = make_tsm()
    with torch.inference_mode():
        samples = net.predict(streams)
        scores = net(streams).softmax(-1)
    for sample, score in zip(samples, scores):
        torch.testing.assert_close(sample.pred_score, score)
        assert sample.corners.shape == (FOCUS, 2)
        assert float(sample.cost) == net.costs.total


def test_bad_input_is_named(make_tsm, tsm_config, streams):
    net = make_tsm()
    with pytest.raises(ConfigError, match='takes 2 \\+ 3 frames'):
        net(streams['imgs_glance'])
    with pytest.raises(ConfigError, match="lack \\['imgs_focus'\\]"):
        net(dict(imgs_glance=streams['imgs_glance']))
    with pytest.raises(ConfigError, match='frames of the glance'):
        net(dict(streams, imgs_glance=streams['imgs_focus']))
    with pytest.raises(ConfigError, match='no frame to skip'):
        make_tsm(policy=dict(tsm_config['policy'], with_gate=True))
    with pytest.raises(ConfigError, match='model.cls_head must be'):
        make_tsm(cls_head=dict(type='dynnet.RecurrentHead', in_channels=32))
