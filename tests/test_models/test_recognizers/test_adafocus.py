"""AdaFocus: stages, both test-time modes, online inference, cost, bad input."""

import copy

import pytest
import torch

from dynnet.ops.patches import patch_corners
from dynnet.utils.errors import ConfigError


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.fixture(scope='module')
def net(make_adafocus):
    return make_adafocus()


def test_online_equals_offline(net, clips):
    with torch.inference_mode():
        out = net.run(clips)
        assert len(out.corners.flatten(0, 1).unique(dim=0)) > 3
        state = None
        for t in range(clips.size(1)):
            logits, corners, state = net.step(clips[:, t], state)
            close(logits, out.logits[:, t])
            assert corners.equal(out.corners[:, t])
        # Two frames at a time as well.
        first = net.run(clips[:, :2])
        second = net.run(clips[:, 2:], first.state)
        close(second.logits, out.logits[:, 2:])
        close(net(clips), out.logits)


THRESHOLDS = dict(
    nobody=lambda s: [float('inf')] * 3,
    everybody=lambda s: [-float('inf')] * 3,
    some=lambda s: [float(s[k].median()) for k in range(3)],
)


@pytest.mark.parametrize('frames_per_step', [1, 3])
@pytest.mark.parametrize('criterion', ['MaxLogit', 'MaxSoftmax', 'Entropy', 'Patience'])
@pytest.mark.parametrize('who', THRESHOLDS)
def test_execute_equals_simulate(
    make_adafocus, clips, samples, who, criterion, frames_per_step
):
    net = make_adafocus(
        criterion=dict(type=criterion), test_cfg=dict(frames_per_step=frames_per_step)
    )
    net.measure_costs()
    with torch.inference_mode():
        scores = net.criterion.score_all(net(clips).transpose(0, 1))
        limits = THRESHOLDS[who](scores)
        net.set_thresholds([1.5] * 3 if criterion == 'Patience' else limits)
        simulated = net.predict(clips, copy.deepcopy(samples))
        net.mode = 'execute'
        executed = net.predict(clips, copy.deepcopy(samples))
    exits = [int(sample.exit_index) for sample in simulated]
    assert exits == [int(sample.exit_index) for sample in executed]
    if who == 'some' and criterion != 'Patience':
        assert len(set(exits)) > 1
    for a, b, k in zip(simulated, executed, exits):
        close(a.pred_score, b.pred_score)
        assert a.pred_label.equal(b.pred_label)
        computed = min(-(-(k + 1) // frames_per_step) * frames_per_step, 4)
        assert len(b.corners) == len(b.frame_scores) == computed
        assert b.corners.equal(a.corners[:computed])
        assert float(b.cost) == net.costs.macs[computed - 1]


def test_execute_computes_no_more_than_what_stays(make_adafocus, clips):
    net = make_adafocus(test_cfg=dict(mode='execute'))
    net.measure_costs()  # on a copy, which the hook below would count
    seen = []
    net.backbone.register_forward_pre_hook(lambda m, x: seen.append(len(x[0])))
    with torch.inference_mode():
        scores = net.criterion.score_all(net(clips).transpose(0, 1))
        net.set_thresholds([float(scores[0].median()), float('inf'), float('inf')])
        seen.clear()
        net.predict(clips)
    assert seen == [5, 2, 2, 2]


@torch.no_grad()
def gate_probs(net, clips):
    maps = net.encode_global(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
    return net.run_policy(maps.transpose(0, 1)).gates


@pytest.mark.parametrize('head', ['RecurrentHead', 'MeanProbabilityHead'])
def test_gates_skip_the_local_encoder(make_adafocus, small_config, clips, head):
    cfg = small_config()
    cfg['policy']['with_gate'] = True
    cfg['cls_head'] = dict(type=f'dynnet.{head}', in_channels=48, dropout=0.0)
    net = make_adafocus(**{k: cfg[k] for k in ('policy', 'cls_head')})
    torch.nn.init.normal_(net.policy.gate.weight, 0, 3)
    net.gate_threshold = float(gate_probs(net, clips).median())
    net.measure_costs()  # on a copy, which the hook below would count
    seen = []
    net.backbone.register_forward_pre_hook(lambda m, x: seen.append(len(x[0])))
    with torch.inference_mode():
        simulated = net.predict(clips)
        net.mode = 'execute'
        executed = net.predict(clips)
        close(
            net.step(clips[:, 0])[0].softmax(-1),
            torch.stack([sample.frame_scores[0] for sample in simulated]),
        )
    opened = sum(int(sample.focused.sum()) for sample in executed)
    assert 0 < opened < 20 and seen[:2] == [20, opened]
    for a, b in zip(simulated, executed):
        assert a.focused.equal(b.focused)
        close(a.frame_scores, b.frame_scores)
        assert float(b.cost) == net.costs.of_frames(4, int(b.focused.sum()))


STAGES = dict(
    glance=('global_backbone', 'global_head'),
    focus=('backbone', 'local_head'),
    random=('backbone', 'cls_head'),
    policy=('policy',),
    finetune=('cls_head',),
    finetune_local=('backbone', 'cls_head'),
    gate=('policy',),
    end_to_end=(
        'global_backbone',
        'global_head',
        'backbone',
        'local_head',
        'policy',
        'cls_head',
    ),
)


@pytest.mark.parametrize('stage', STAGES)
def test_a_stage_trains_its_parts_and_no_others(
    make_adafocus, small_config, clips, samples, stage
):
    policy = dict(small_config()['policy'], with_gate=stage == 'gate')
    if stage == 'end_to_end':
        policy['kind'] = 'continuous'
    cfg = dict(stage=stage, from_scratch=True)
    net = make_adafocus(policy=policy, train_cfg=cfg).train()
    frozen_bn = {'finetune_local': 'backbone'}.get(stage)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    losses = net.loss(clips, samples)
    loss, _ = net.parse_losses(losses)
    assert loss.isfinite()
    loss.backward()
    parts = STAGES[stage]
    for name, module in net.named_children():
        if name != 'data_preprocessor':
            assert module.training == (name in parts and name != frozen_bn), name
    for name, value in net.named_parameters():
        trained = name.startswith(tuple(f'{part}.' for part in parts))
        if stage == 'end_to_end' and name.startswith('policy.critic'):
            trained = False  # nothing asks it
        assert value.requires_grad == trained, name
        assert (value.grad is not None) == trained, name
    for name, value in net.state_dict().items():
        if 'running' in name:
            moved = not value.equal(before[name])
            part = name.partition('.')[0]
            assert moved == (part in parts and part != frozen_bn), name


def test_stage_names_and_starts_are_checked(make_adafocus, clips, samples):
    with pytest.raises(ConfigError, match="stage='polcy' must be one of glance"):
        make_adafocus(train_cfg=dict(stage='polcy'))
    with pytest.raises(ConfigError, match="unknown keys in train_cfg: \\['gama'\\]"):
        make_adafocus(train_cfg=dict(stage='policy', gama=1))
    with pytest.raises(ConfigError, match='with_gate=True'):
        make_adafocus(train_cfg=dict(stage='gate'))
    with pytest.raises(ConfigError, match='model.local_head'):
        make_adafocus(train_cfg=dict(stage='focus'), local_head=None)
    with pytest.raises(ConfigError, match="kind='continuous'"):
        net = make_adafocus(train_cfg=dict(stage='end_to_end'))
        net.loss(clips, samples)
    with pytest.raises(ConfigError, match='needs model.train_cfg.stage'):
        make_adafocus().loss(clips, samples)
    net = make_adafocus(train_cfg=dict(stage='policy'))
    with pytest.raises(ConfigError, match='set load_from'):
        net.loss(clips, samples)
    from mmengine.runner.checkpoint import load_state_dict

    load_state_dict(net, net.state_dict())
    net.loss(clips, samples)


def test_bad_frames_and_labels_are_named(make_adafocus, net, clips, samples):
    with pytest.raises(ConfigError, match='patch_size=49 does not fit .* 48'):
        make_adafocus(patch_size=49)
    with pytest.raises(ConfigError, match='frame_size=48, but the frames are 40x40'):
        net(clips[..., :40, :40])
    with pytest.raises(ConfigError, match='FormatShape'):
        net(clips[:, 0])
    net = make_adafocus(train_cfg=dict(stage='random', from_scratch=True))
    samples[1].set_gt_label(3)
    samples[1].set_metainfo(dict(filename='a.mp4'))
    with pytest.raises(ConfigError, match='a.mp4: label 3, the model has 3 classes'):
        net.loss(clips, samples)
    samples[1].set_gt_label([2, -1])
    assert net.loss(clips, samples)['loss_cls'].isfinite()


def test_rollout_is_the_loop_over_the_frames(make_adafocus, clips, labels):
    net = make_adafocus(train_cfg=dict(stage='policy', from_scratch=True)).train()
    rollout = net.rollout(clips, labels)
    baseline_corners = torch.zeros(4, 5, 2, dtype=torch.long)
    again = net.rollout(clips, labels, rollout.actions, baseline_corners)
    state, n = None, len(clips)
    with torch.no_grad():
        for t in range(4):
            frames = clips[:, t]
            glance = net.encode_global(frames).mean((2, 3))
            places = net.policy.places(rollout.actions[t])
            corners = patch_corners(places, 48, 32)
            assert corners.equal(again.corners[t])

            def classify(corners, glance=glance, frames=frames, state=state):
                feats = net.join(glance, net.look(frames, corners))[:, None]
                logits, states = net.cls_head.run(feats, state)
                return logits[:, 0], states[:, 0]

            other, _ = classify(baseline_corners[t])
            logits, state = classify(corners)
            close(again.logits[t], logits)
            close(again.baseline[t], other)
            rows = torch.arange(n)
            gain = logits.softmax(1)[rows, labels] - other.softmax(1)[rows, labels]
            close(again.rewards[t], gain)
    terms = net.ppo_terms(again)
    assert terms.ratio.eq(1).all()
    assert again.output is None  # used up: a second update runs the policy anew
    assert net.ppo_terms(again).ratio.allclose(torch.ones(4, 5))


def test_learning_the_policy_raises_its_reward(make_adafocus, clips, labels):
    """With a reward that a place alone decides, the policy finds it."""
    net = make_adafocus(train_cfg=dict(stage='policy', from_scratch=True)).train()
    torch.nn.init.zeros_(net.policy.actor.weight)
    optimizer = torch.optim.Adam(net.policy.parameters(), lr=3e-3)
    states = torch.randn(4, 5, 16, 6, 6)
    shares = []
    from dynnet.models.policies.rollout import Rollout

    for _ in range(60):
        output = net.run_policy(states)
        actions = net.policy.sample(output)
        rewards = (actions == 7).float()
        shares.append(float(rewards.mean()))
        log_probs = net.policy.log_probs(output, actions).detach()
        rollout = Rollout(
            states, actions, log_probs, rewards, None, None, output=output
        )
        optimizer.zero_grad()
        net.ppo_terms(rollout).loss.backward()
        optimizer.step()
    assert sum(shares[:5]) / 5 < 0.2 and sum(shares[-5:]) / 5 > 0.6
