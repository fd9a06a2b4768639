"""What adaptive rotated convolutions cost in time.

Rows:

* ``arc_r50_512_*``: ARC-ResNet-50 (n = 4, stages 2 to 4) against ResNet-50 at 512x512,
  evaluated at batch 1 and 2, and a training step at batch 2 (forward, backward, SGD
  with momentum, ``zero_grad``).
* ``arc_layer*``: one adaptive rotated convolution against a plain one of its size.
* ``*_transcribed*``: the same with the straightforward form in the place of ours.

All nets run as they are: no BN is folded, no weight prepacked, memory is channels-last
(the faster format for both). The straightforward form is written from the paper's
formulas: rotation matrices by small concatenations, one product that first permutes all
kernels, a grouped convolution; NCHW as a plain port is.
"""

import math
import time
from functools import partial

import torch
import torch.nn.functional as F
from harness import Case, make_parser, run
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.registry import MODELS

TREATED = dict(format='channels_last', bn_folded=False, prepacked=False)
PLAIN = dict(format='NCHW', bn_folded=False, prepacked=False)
LAYERS = dict(  # channels, side of the input map at 512x512, stride
    layer2_first=(128, 128, 2),
    layer2=(128, 64, 1),
    layer3_first=(256, 64, 2),
    layer3=(256, 32, 1),
    layer4_first=(512, 32, 2),
    layer4=(512, 16, 1),
)


class TranscribedConv(nn.Module):
    """The straightforward form of a layer, with that layer's parameters."""

    def __init__(self, conv: AdaptiveRotatedConv2d) -> None:
        super().__init__()
        self.stride, self.padding = conv.stride, conv.padding
        self.routing = conv.routing
        self.weight = nn.Parameter(conv.weight.detach().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, O, H', W')."""
        r = self.routing
        y = r.depthwise(x).permute(0, 2, 3, 1)
        y = F.relu(r.norm(y).permute(0, 3, 1, 2), inplace=True)
        pooled = F.adaptive_avg_pool2d(y, 1).flatten(1)
        gates = r.gate(r.gate_dropout(pooled)).sigmoid()
        angles = F.softsign(r.angle(r.angle_dropout(pooled)))
        angles = angles * math.radians(r.max_angle)
        n, out, inner = self.weight.shape[:3]
        batch = len(x)
        matrices = transcribed_matrix(angles.flatten()).view(batch, n, 9, 9)
        matrices = matrices * gates[..., None, None]
        rows = matrices.permute(0, 2, 1, 3).reshape(batch * 9, n * 9)
        bank = self.weight.permute(0, 3, 4, 1, 2).reshape(n * 9, out * inner)
        kernels = (rows @ bank).view(batch, 3, 3, out, inner)
        kernels = kernels.permute(0, 3, 4, 1, 2).reshape(batch * out, inner, 3, 3)
        joined = x.reshape(1, batch * inner, *x.shape[2:])
        y = F.conv2d(joined, kernels, None, self.stride, self.padding, 1, groups=batch)
        return y.view(batch, out, *y.shape[2:])


def transcribed_matrix(angles: Tensor) -> Tensor:
    """Both branches for every angle (N,), each row put together, blended by a mask."""
    ring = [0, 1, 2, 5, 8, 7, 6, 3]
    c = angles.cos()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    branches = []
    for step in (1, -1):
        s = step * angles.sin()
        rows: list = [None] * 9
        for k, tap in enumerate(ring):
            row = [zero] * 9
            if k % 2 == 0:
                row[tap], row[ring[(k + step) % 8]] = c - s, 1 - c + s
            else:
                row[tap] = (1 - s) * c
                row[ring[(k + step) % 8]] = s * c
                row[ring[(k + 2 * step) % 8]] = s * (1 - c)
                row[4] = (1 - s) * (1 - c)
            rows[tap] = torch.stack(row, -1)
        rows[4] = torch.stack([zero] * 4 + [one] + [zero] * 4, -1)
        branches.append(torch.stack(rows, 1))
    mask = (angles >= 0).to(c.dtype)[:, None, None]
    return mask * branches[0] + (1 - mask) * branches[1]


def transcribe(model: nn.Module) -> nn.Module:
    """Put the straightforward form into a net, in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptiveRotatedConv2d):
            parent, _, leaf = name.rpartition('.')
            setattr(model.get_submodule(parent), leaf, TranscribedConv(module))
    return model


def build(kind: str) -> nn.Module:
    """ResNet-50, ARC-ResNet-50 or the latter transcribed."""
    torch.manual_seed(0)
    replace = () if kind == 'plain' else ('none', 'all', 'all', 'all')
    cfg = dict(
        type='dynnet.ARCResNet',
        depth=50,
        replace=replace,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_eval=True,
    )
    model = MODELS.build(cfg).eval()
    if kind == 'transcribed':
        return transcribe(model)
    return model.to(memory_format=torch.channels_last)


def to_format(x: Tensor, kind: str) -> Tensor:
    """Channels-last, but for the transcription."""
    if kind == 'transcribed':
        return x
    return x.contiguous(memory_format=torch.channels_last)


class TrainingStep:
    """One step of stochastic gradient descent on made pictures."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model, self.x = model, x
        model.train()
        self.optimizer = torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad],
            lr=1e-6,
            momentum=0.9,
            weight_decay=1e-4,
        )

    def __call__(self) -> None:
        """Forward, backward, step."""
        with torch.inference_mode(False), torch.enable_grad():
            self.optimizer.zero_grad()
            loss = sum(stage.mean() for stage in self.model(self.x))
            loss.backward()
            self.optimizer.step()


def net_cases(quick: bool) -> list[Case]:
    """Whole nets, evaluated and trained."""
    bars = {1: 1.12, 2: 1.08}
    cases = []
    nets = {kind: build(kind) for kind in ('plain', 'arc', 'transcribed')}
    x = torch.randn(1, 3, 128, 96)
    with torch.inference_mode():
        for ours, theirs in zip(nets['arc'](x), nets['transcribed'](x)):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    for batch, bar in bars.items():
        x = torch.randn(batch, 3, 512, 512)
        for kind in ('arc', 'transcribed'):
            cases.append(
                Case(
                    f'{kind}_r50_512_b{batch}_eval',
                    batch,
                    partial(nets[kind], to_format(x, kind)),
                    partial(nets['plain'], to_format(x, 'plain')),
                    'ResNet-50, eager, channels-last',
                    bar if kind == 'arc' else None,
                    TREATED if kind == 'arc' else PLAIN,
                )
            )
    for kind in ('arc', 'transcribed'):
        if quick and kind == 'transcribed':
            continue
        x = torch.randn(2, 3, 512, 512)
        cases.append(
            Case(
                f'{kind}_r50_512_b2_train',
                2,
                TrainingStep(build(kind), to_format(x, kind)),
                TrainingStep(build('plain'), to_format(x, 'plain')),
                'training step of ResNet-50, frozen_stages=1, norm_eval=True',
                1.22 if kind == 'arc' else None,
                TREATED if kind == 'arc' else PLAIN,
            )
        )
    return cases


def layer_cases() -> list[Case]:
    """Single convolutions of the net, where it has them at 512x512."""
    cases = []
    for name, (channels, side, stride) in LAYERS.items():
        torch.manual_seed(0)
        geometry = dict(stride=stride, padding=1, bias=False)
        plain = nn.Conv2d(channels, channels, 3, **geometry)
        plain = plain.to(memory_format=torch.channels_last)
        arc = AdaptiveRotatedConv2d(channels, channels, 3, **geometry).eval()
        transcribed = TranscribedConv(arc).eval()
        for batch in (1, 2):
            x = torch.randn(batch, channels, side, side)
            with torch.inference_mode():
                torch.testing.assert_close(arc(x), transcribed(x), rtol=1e-3, atol=1e-4)
            for kind, layer in (('arc', arc), ('transcribed', transcribed)):
                has_bar = kind == 'arc' and name == 'layer4' and batch == 1
                cases.append(
                    Case(
                        f'{kind}_{name}_b{batch}_eval',
                        batch,
                        partial(layer, to_format(x, kind)),
                        partial(plain, to_format(x, 'plain')),
                        f'nn.Conv2d, {channels} channels, {side}x{side}, '
                        f'stride {stride}',
                        1.8 if has_bar else None,
                        TREATED if kind == 'arc' else PLAIN,
                    )
                )
    return cases


def main() -> None:
    """Measure all rows."""
    args = make_parser(__doc__.splitlines()[0]).parse_args()
    start = time.perf_counter()
    init_default_scope('mmpretrain')
    run(layer_cases() + net_cases(args.quick), args, 'arc_speed.py')
    print(f'{time.perf_counter() - start:.0f} s, {args.out}')


if __name__ == '__main__':
    main()
