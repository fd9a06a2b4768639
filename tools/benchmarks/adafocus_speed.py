"""How fast AdaFocus really is: against TSN, and against a loop over the frames.

One clip of 16 frames of 224 pixels. Rows:

* ``adafocus_pP_vs_tsn``: AdaFocus with patches of P pixels against TSN with ResNet-50
  on whole frames. Both have their BN folded by mmcv's ``fuse_conv_bn`` and run in
  channels_last.
* ``adafocus_p128_vs_loop``: the same against its own parts called frame by frame, as
  the published evaluation does (the global encoder sees all frames at once there too).
* without ``--quick``: what the parts take of the whole, and untreated forms.
"""

import copy
from functools import partial

import torch
from harness import Case, make_parser, run
from mmcv.cnn import fuse_conv_bn
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from dynnet.ops.patches import patch_corners
from dynnet.registry import MODELS
from dynnet.utils.optional import require

FRAMES, SIZE, CLASSES = 16, 224, 200
TREATED = dict(format='channels_last', bn_folded=True, prepacked=False)
PLAIN = dict(format='NCHW', bn_folded=False, prepacked=False)


def adafocus_config(patch_size: int) -> dict:
    """The network of configs/_base_/models/adafocus_r50.py."""
    return dict(
        type='dynnet.AdaFocus',
        num_classes=CLASSES,
        num_segments=FRAMES,
        patch_size=patch_size,
        global_backbone=dict(type='MobileNetV2'),
        backbone=dict(type='ResNet', depth=50),
        policy=dict(num_actions=49),
        cls_head=dict(type='dynnet.RecurrentHead'),
    )


class TSN(nn.Module):
    """ResNet-50 on every frame, the mean of the frames' logits."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MODELS.build(dict(type='ResNet', depth=50))
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        """Map frames (N, T, 3, H, W) to logits (N, C)."""
        vectors = self.backbone(clips.flatten(0, 1)).mean((2, 3))
        return self.fc(vectors).unflatten(0, clips.shape[:2]).mean(1)


def settle(encoder: nn.Module, size: int) -> None:
    """Give the BNs statistics that belong to the weights: else values fade away."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    encoder.train()
    with torch.no_grad():
        encoder(torch.randn(4, 3, size, size))
    encoder.eval()


def treat(model: nn.Module) -> nn.Module:
    """A copy with folded BN, in channels_last."""
    model = fuse_conv_bn(copy.deepcopy(model))
    return model.to(memory_format=torch.channels_last)


def loop(model: nn.Module, clips: Tensor) -> Tensor:
    """Logits (N, T, C) by a loop over the frames, as the published evaluation runs."""
    n, t = clips.shape[:2]
    maps = model.encode_global(clips.flatten(0, 1)).unflatten(0, (n, t))
    hidden, state, logits = None, None, []
    for k in range(t):
        output = model.policy(maps[None, :, k], hidden)
        hidden = output.hidden[0]
        places = model.policy.places(model.policy.greedy(output))[0]
        corners = patch_corners(places, SIZE, model.patch_size)
        local = model.look(clips[:, k], corners)
        feats = model.join(maps[:, k].mean((2, 3)), local)
        step, states = model.cls_head.run(feats[:, None], state)
        state = states[:, 0]
        logits.append(step)
    return torch.cat(logits, 1)


def check_equal(model: nn.Module, treated: nn.Module, clips: Tensor) -> None:
    """Stop unless the loop and the treated form give the network's logits."""
    with torch.inference_mode():
        expected = model(clips)
        for other in (loop(model, clips), treated(clips)):
            torch.testing.assert_close(other, expected, rtol=1e-3, atol=1e-3)


def part_cases(model: nn.Module, clips: Tensor) -> list[Case]:
    """What each part takes of the whole."""
    patch = model.patch_size
    flat = clips.flatten(0, 1)
    with torch.inference_mode():
        out = model.run(clips)
        maps = model.encode_global(flat)
        states = maps.unflatten(0, clips.shape[:2]).transpose(0, 1).contiguous()
        corners = out.corners.flatten(0, 1)
    parts = dict(
        glance=partial(model.encode_global, flat),
        policy=partial(model.run_policy, states),
        local=partial(model.look, flat, corners),
        head=partial(model.cls_head, out.feats),
    )
    return [
        Case(
            f'adafocus_p{patch}_part_{name}',
            1,
            call,
            partial(model, clips),
            'the whole network',
            extra=TREATED,
        )
        for name, call in parts.items()
    ]


def main() -> None:
    """Build the cases and measure them."""
    args = make_parser(__doc__.splitlines()[0]).parse_args()
    require('mmaction', 'adafocus_speed.py')
    torch.manual_seed(0)
    clips = torch.randn(1, FRAMES, 3, SIZE, SIZE)
    with DefaultScope.overwrite_default_scope('mmaction'):
        tsn = TSN()
        nets = {p: MODELS.build(adafocus_config(p)).eval() for p in (96, 128, 160)}
    settle(tsn.backbone, SIZE)
    for patch, net in nets.items():
        settle(net.backbone, patch)
        settle(net.global_backbone, SIZE)
    treated = {patch: treat(net) for patch, net in nets.items()}
    fast_tsn = treat(tsn)
    check_equal(nets[128], treated[128], clips)
    bars = {96: 0.39, 128: 0.49, 160: None}
    cases = [
        Case(
            f'adafocus_p{patch}_vs_tsn',
            1,
            partial(net, clips),
            partial(fast_tsn, clips),
            'TSN, ResNet-50, 16 whole frames',
            bars[patch],
            TREATED,
        )
        for patch, net in treated.items()
    ]
    cases.append(
        Case(
            'adafocus_p128_vs_loop',
            1,
            partial(treated[128], clips),
            partial(loop, treated[128], clips),
            'frame by frame, same treatment',
            0.55,
            TREATED,
        )
    )
    if not args.quick:
        cases.append(
            Case(
                'adafocus_p128_vs_plain_loop',
                1,
                partial(treated[128], clips),
                partial(loop, nets[128], clips),
                'frame by frame, untreated',
                extra=TREATED,
            )
        )
        cases.append(
            Case(
                'adafocus_p128_vs_tsn_plain',
                1,
                partial(nets[128], clips),
                partial(tsn, clips),
                'TSN; neither is treated',
                extra=PLAIN,
            )
        )
        for net in treated.values():
            cases += part_cases(net, clips)
    run(cases, args, 'adafocus_speed.py')


if __name__ == '__main__':
    main()
