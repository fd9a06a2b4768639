"""AdaFocus: from published weights to features, actions, logits, losses, gradients."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from dynnet.models.policies import confidence_reward
from dynnet.ops.patches import action_grid, crop_patches, patch_corners
from dynnet.registry import MODELS
from dynnet.utils.adafocus_conversion import (
    classifier_keys,
    convert_adafocus,
    focuser_keys,
    glancer_keys,
    policy_keys,
    split_model_state,
)
from dynnet.utils.checkpoint import load_weights
from dynnet.utils.optional import require

from . import Case, Result, adapter


def tensors(case: Case) -> dict[str, Tensor]:
    """The published weights."""
    return {name: torch.from_numpy(v) for name, v in case.weights().items()}


def model_config(kwargs: dict, **settings) -> dict:
    """The recurrent form as a user writes it."""
    classes = kwargs.get('num_classes', 200)
    return dict(
        type='dynnet.AdaFocus',
        backbone=dict(type='ResNet', depth=50),
        global_backbone=dict(type='MobileNetV2'),
        policy=dict(num_actions=kwargs.get('action_dim', 49)),
        cls_head=dict(type='dynnet.RecurrentHead', num_classes=classes, dropout=0.0),
        global_head=head(classes, 1280),
        local_head=head(classes, 2048),
        patch_size=kwargs['patch_size'],
        num_segments=kwargs['num_segments'],
        **settings,
    )


def tsm_config(kwargs: dict, **settings) -> dict:
    """The Something-Something form."""
    classes = kwargs.get('num_classes', 174)
    glance = kwargs.get('num_segments_glancer', 8)
    focus = kwargs.get('num_segments_focuser', 12)
    plain = dict(pretrained2d=False)
    return dict(
        type='dynnet.AdaFocusTSM',
        backbone=dict(type='ResNetTSM', depth=50, num_segments=focus, **plain),
        global_backbone=dict(type='MobileNetV2TSM', num_segments=glance, **plain),
        policy=dict(
            in_channels=1280 * glance,
            mid_channels=64,
            kind='continuous' if kwargs.get('ppo_continuous', True) else 'discrete',
            num_actions=kwargs.get('action_dim', 49),
            action_std=kwargs['action_std'],
            with_bn=kwargs['actorcritic_with_bn'],
        ),
        cls_head=head(classes, 2048),
        global_head=head(classes, 1280),
        patch_size=kwargs['patch_size'],
        num_glance=glance,
        num_focus=focus,
        **settings,
    )


def head(classes: int, channels: int) -> dict:
    """A linear classifier of a frame's feature."""
    return dict(
        type='dynnet.FrameMeanHead',
        num_classes=classes,
        in_channels=channels,
        dropout=0.0,
    )


def build(case: Case, config: dict) -> nn.Module:
    """Go a user's way: published file, converter, config, loading, eval."""
    require('mmaction')
    init_default_scope('mmaction')
    published = dict(split_model_state(tensors(case)), epoch=1, best_acc=0.5)
    with tempfile.TemporaryDirectory() as folder:
        source, target, file = (Path(folder, n) for n in ('a.tar', 'b.pth', 'c.py'))
        torch.save(published, source)
        Config(dict(model=config, default_scope='mmaction')).dump(file)
        _, missing = convert_adafocus([source], target, file)
        net = MODELS.build(config)
        if missing:  # a stage-1 file has no policy
            assert missing == ['policy']
            state = torch.load(target)['state_dict']
            assert not net.load_state_dict(state, strict=False).unexpected_keys
        else:
            load_weights(net, target)
    return net.eval()


def frames(case: Case, role: str | None = None) -> Tensor:
    """Frames (N, T, 3, H, W) of a frame-major input (N, T * 3, H, W)."""
    x = torch.from_numpy(case.input(role))
    return x.unflatten(1, (-1, 3))


def part(cfg: dict, state: dict[str, Tensor], prefix: str) -> nn.Module:
    """One part of a network, loaded strictly with what its keys were renamed to."""
    require('mmaction')
    init_default_scope('mmaction')
    module = MODELS.build(cfg)
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    module.load_state_dict(own)
    module.eval()  # mmaction2's backbones do not return themselves
    return module


def numpy(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def thin(x: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Every k-th entry of each axis, as large weights are stored."""
    x = numpy(x)
    return x[tuple(slice(None, None, -(-a // b)) for a, b in zip(x.shape, shape))]


FEATURE = (0, 1e-4)


@adapter('global encoder f_G: MobileNet-V2 (checkpoint entry "glancer")')
def glancer(case: Case) -> Result:
    state = glancer_keys(tensors(case))
    net = part(dict(type='MobileNetV2'), state, 'global_backbone.')
    classifier = part(
        head(case.meta['kwargs']['num_classes'], 1280), state, 'global_head.'
    )
    with torch.inference_mode():
        maps = net(torch.from_numpy(case.input()))
        vector = maps.mean((2, 3))
        logits = classifier.forward_frames(vector)
    return Result(
        dict(
            featmap_c32=(maps[:, ::32], *FEATURE),
            vec=(vector, *FEATURE),
            logits=(logits, *FEATURE),
        )
    )


@adapter(
    'local encoder f_L: ResNet-50 v1.5 (checkpoint entry "focuser", random_patch=true '
    'model)'
)
def focuser(case: Case) -> Result:
    state = focuser_keys(tensors(case))
    net = part(dict(type='ResNet', depth=50), state, 'backbone.')
    classifier = part(
        head(case.meta['kwargs']['num_classes'], 2048), state, 'local_head.'
    )
    with torch.inference_mode():
        feat = net(torch.from_numpy(case.input())).mean((2, 3))
        logits = classifier.forward_frames(feat)
    return Result(dict(feat=(feat, *FEATURE), logits=(logits, *FEATURE)))


@adapter('TSM MobileNet-V2, 2 clips x 8 frames (checkpoint entry "glancer")')
def tsm_glancer(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    state = glancer_keys(tensors(case))
    net = part(
        dict(
            type='MobileNetV2TSM',
            num_segments=kwargs['num_segments'],
            shift_div=kwargs['shift_div'],
            pretrained2d=False,
        ),
        state,
        'global_backbone.',
    )
    classifier = part(head(kwargs['num_classes'], 1280), state, 'global_head.')
    with torch.inference_mode():
        maps = net(torch.from_numpy(case.input()))
        vector = maps.mean((2, 3))
        logits = classifier.forward_frames(vector)
    return Result(
        dict(
            featmap_c64=(maps[:, ::64], *FEATURE),
            vec_c8=(vector[:, ::8], *FEATURE),
            logits=(logits, *FEATURE),
        )
    )


@adapter('TSM ResNet-50, 2 clips x 12 frames (checkpoint entry "focuser")')
def tsm_focuser(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    net = part(
        dict(
            type='ResNetTSM',
            depth=50,
            num_segments=kwargs['num_segments'],
            shift_div=kwargs['shift_div'],
            shift_place=kwargs['shift_place'],
            pretrained2d=False,
        ),
        focuser_keys(tensors(case)),
        'backbone.',
    )
    with torch.inference_mode():
        feat = net(torch.from_numpy(case.input())).mean((2, 3))
    return Result(dict(feat_c4=(feat[:, ::4], *FEATURE)))


def build_policy(case: Case) -> nn.Module:
    """A bare policy; its widths are those of the published tensors."""
    kwargs, state = case.meta['kwargs'], tensors(case)
    conv, actor = state['state_encoder.0.weight'], state['actor.0.weight']
    continuous = kwargs.get('continuous', len(actor) == 2)
    cfg = dict(
        type='dynnet.PatchPolicy',
        in_channels=conv.size(1),
        mid_channels=conv.size(0),
        hidden_channels=actor.size(1),
        kind='continuous' if continuous else 'discrete',
        num_actions=len(actor),
        action_std=kwargs.get('action_std') or 0.25,
        with_bn='state_encoder.1.running_mean' in state,
    )
    return part(cfg, policy_keys(state), '')


@adapter('policy network pi, discrete (checkpoint entry "policy")')
def policy(case: Case) -> Result:
    net = build_policy(case)
    given = torch.from_numpy(case.feed('given_actions'))
    with torch.inference_mode():
        states = torch.from_numpy(case.input())
        output = net(states)
        # Step by step as well: the memory must carry on.
        hidden = None
        for t, state in enumerate(states):
            step = net(state[None], hidden)
            hidden = step.hidden[0]
            torch.testing.assert_close(step.actor[0], output.actor[t])
    begin = torch.zeros_like(output.hidden[:1])
    arrays = dict(
        actions=(net.greedy(output), 0, 0),
        hidden_c8=(torch.cat([begin, output.hidden])[..., ::8], *FEATURE),
        given_logprob=(net.log_probs(output, given), 0, 1e-4),
        value=(output.values, 0, 1e-4),
        entropy=(net.entropy(output), 0, 1e-4),
    )
    if case.has('probs'):
        arrays['probs'] = (output.actor, 0, 1e-5)
        arrays['encoded_t0_c8'] = (output.encoded[0][:, ::8], *FEATURE)
    else:
        arrays['actor_out'] = (output.actor, 0, 1e-5)
        if net.continuous:
            arrays['actions'] = (net.greedy(output), 0, 1e-5)
    return Result(arrays)


adapter('Sth-Sth policy (checkpoint entry "policy"), eval mode')(policy)


@adapter(
    'discrete action tables and their integer top-left corners (y, x) on a 224 frame'
)
def crop_grid(case: Case) -> Result:
    arrays = {}
    for n in (16, 25, 36, 49, 64, 81, 100):
        arrays[f'table_{n}'] = (action_grid(n), 0, 0)
        for p in (96, 112, 128, 144, 160, 176, 192):
            if case.has(f'topleft_{n}_p{p}'):
                corners = patch_corners(action_grid(n), 224, p)
                arrays[f'topleft_{n}_p{p}'] = (corners, 0, 0)
    return Result(arrays)


@adapter('get_patch on a ramp image')
def crop_ramp(case: Case) -> Result:
    ramp = torch.from_numpy(case.input())
    actions = torch.from_numpy(case.feed('actions'))
    arrays = {}
    for p in (96, 112, 128, 144, 160, 176, 192):
        if case.has(f'topleft_p{p}'):
            corners = patch_corners(actions, 224, p)
            patches = crop_patches(ramp, corners, p)
            arrays[f'topleft_p{p}'] = (corners, 0, 0)
            arrays[f'crop_p{p}_s16'] = (patches[..., ::16, ::16], 0, 0)
    return Result(arrays)


@adapter('classifier f_C: GRU (checkpoint entry "fc")')
def classifier_gru(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    cfg = dict(
        type='dynnet.RecurrentHead',
        num_classes=kwargs['num_classes'],
        in_channels=kwargs['input_dim'],
        hidden_channels=kwargs['hidden_dim'],
    )
    net = part(cfg, classifier_keys(tensors(case)), 'cls_head.')
    with torch.inference_mode():
        logits, states = net.run(torch.from_numpy(case.input('x')))
        baseline = net.peek(torch.from_numpy(case.input('baseline')), states)
    return Result(
        dict(
            logits=(logits, *FEATURE),
            last=(logits[:, -1], *FEATURE),
            baseline_logits=(baseline, *FEATURE),
        )
    )


@adapter('classifier f_C, consensus=fc: mean of per-frame softmax, NLL on its log')
def classifier_fc(case: Case) -> Result:
    kwargs = case.meta['kwargs']
    cfg = dict(
        type='dynnet.MeanProbabilityHead',
        num_classes=kwargs['num_classes'],
        in_channels=kwargs['input_dim'],
    )
    net = part(cfg, classifier_keys(tensors(case)), 'cls_head.')
    with torch.inference_mode():
        log_prob = net(torch.from_numpy(case.input()))[:, -1]
    return Result(dict(log_prob=(log_prob, *FEATURE), prob=(log_prob.exp(), 0, 1e-5)))


@adapter('reward from per-step logits')
def reward(case: Case) -> Result:
    labels = torch.from_numpy(case.feed('labels'))
    logits, baseline = (torch.from_numpy(case.input(r)) for r in ('logits', 'baseline'))
    return Result(
        {
            f'reward_{kind}': (
                confidence_reward(logits, labels, baseline, kind),
                0,
                1e-6,
            )
            for kind in ('random', 'prev', 'conf')
        }
    )


@adapter('whole network, stage-3 / inference path, greedy actions')
def network(case: Case) -> Result:
    net = build(case, model_config(case.meta['kwargs']))
    x = frames(case)
    with torch.inference_mode():
        out = net.run(x)
        # Online: frame by frame.
        state = None
        for t in range(x.size(1)):
            logits, corners, state = net.step(x[:, t], state)
            assert corners.equal(out.corners[:, t])
            torch.testing.assert_close(logits, out.logits[:, t], rtol=0, atol=1e-4)
    return Result(
        dict(
            action=(out.actor.argmax(-1), 0, 0),
            action_prob=(out.actor, 0, 1e-5),
            topleft=(out.corners, 0, 0),
            feature_c32=(out.feats[..., ::32], *FEATURE),
            local_c32=(out.feats[..., 1280::32], *FEATURE),
            logits=(out.logits, *FEATURE),
            last=(out.logits[:, -1], *FEATURE),
        )
    )


@adapter('whole Sth-Sth network, inference path')
def tsm_network(case: Case) -> Result:
    net = build(case, tsm_config(case.meta['kwargs']))
    streams = net.prepare(
        dict(imgs_glance=frames(case, 'glance'), imgs_focus=frames(case, 'focus'))
    )
    with torch.inference_mode():
        maps = net.glance(streams)
        output = net.run_policy(net.states(maps))
        logits, corners = net.run(streams)
        feats = net.local_feats(streams, corners)
        per_frame = net.cls_head.forward_frames(feats)
    repeated = corners.repeat_interleave(net.num_focus, 0)
    patches = crop_patches(streams[1].flatten(0, 1), repeated, net.patch_size)
    patches = patches.unflatten(0, (-1, net.num_focus))[:, ::4, :, ::16, ::16]
    arrays = dict(
        logits=(logits, *FEATURE),
        local_logits=(per_frame.mean(1), *FEATURE),
        global_logits=(net.global_logits(maps), *FEATURE),
        actor_out=(output.actor[0], 0, 1e-5),
        topleft=(corners, 0, 0),
        local_frame_logits_c4=(per_frame[..., ::4], *FEATURE),
        patch_s16=(patches, 0, 0),
    )
    if not net.policy.continuous:
        arrays['action'] = (net.policy.greedy(output)[0], 0, 0)
    # Which of them a case has depends on the kind of its actions.
    return Result({name: ours for name, ours in arrays.items() if case.has(name)})
