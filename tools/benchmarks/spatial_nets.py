"""ResNets of folded blocks with given masks, run sparsely and in dense ways."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dynnet.models.gates import hard_mask
from dynnet.ops import coarse_size, dilate_mask, upsample_mask
from dynnet.ops.sparse_conv import (
    FoldedBlock,
    FoldedConv,
    cpp,
    fold_block,
    run_blocks,
    sparse_block,
)
from dynnet.utils.folding import fold_conv_bn


def blob_mask(batch: int, grid: tuple[int, int], rate: float, seed: int) -> Tensor:
    """Draw a smooth random mask with exactly ``round(rate * cells)`` cells per image.

    Returns:
        (B, h, w), boolean.
    """
    generator = torch.Generator().manual_seed(seed)
    field = torch.randn(batch, 1, *grid, generator=generator)
    if min(grid) > 2:
        k = max(3, (min(grid) // 4) * 2 + 1)
        field = F.avg_pool2d(F.pad(field, [k // 2] * 4), k, 1)
        field += 0.02 * torch.randn(batch, 1, *grid, generator=generator)
    flat = field.flatten(1)
    keep = flat.topk(max(1, round(rate * flat.shape[1])), 1).indices
    return torch.zeros_like(flat).scatter_(1, keep, 1).view(batch, *grid).bool()


def prepack(conv: FoldedConv, x: Tensor) -> Tensor:
    """Return oneDNN's layout of a weight for inputs like ``x``."""
    # The layout suits a number of threads: with another it is slow.
    key = ('conv', tuple(x.shape), torch.get_num_threads())
    if key not in conv.layouts:
        settings = [[conv.padding] * 2, [conv.stride] * 2, [conv.dilation] * 2]
        conv.layouts[key] = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight, *settings, conv.groups, list(x.shape)
        )
    return conv.layouts[key]


def prepacked(conv: FoldedConv, x: Tensor, relu: bool, add: Tensor | None = None):
    """Convolve with oneDNN's prepacked weight, ReLU and addition fused."""
    op = torch.ops.mkldnn._convolution_pointwise
    settings = [[conv.padding] * 2, [conv.stride] * 2, [conv.dilation] * 2]
    weight, act = prepack(conv, x), 'relu' if relu else 'none'
    if add is None:
        return op(x, weight, conv.bias, *settings, conv.groups, act, [], '')
    return op.binary(
        *(x, add, weight, conv.bias, *settings, conv.groups),
        *('add', 1.0, 'relu', [], None),
    )


def dense_folded(block: FoldedBlock, x: Tensor) -> Tensor:
    """BN folded, channels last, eager."""
    y = block.convs[0].dense(x).relu_()
    y = block.convs[1].dense(y).relu_()
    return block.convs[2].dense(y).add_(block.identity(x)).relu_()


def dense_prepacked(block: FoldedBlock, x: Tensor) -> Tensor:
    """BN folded, channels last, oneDNN's prepacked weights, ReLU and add fused."""
    y = prepacked(block.convs[0], x, True)
    y = prepacked(block.convs[1], y, True)
    identity = x if block.shortcut is None else prepacked(block.shortcut, x, False)
    return prepacked(block.convs[2], y, True, identity)


def dense_masked(block: FoldedBlock, x: Tensor, mask: Tensor) -> Tensor:
    """As :func:`dense_folded`, the branch multiplied by the mask."""
    y = block.convs[0].dense(x).relu_()
    y = block.convs[1].dense(y).relu_()
    y = block.convs[2].dense(y)
    full = upsample_mask(mask, y.shape[2:])[:, None]
    return y.mul_(full).add_(block.identity(x)).relu_()


class Gate:
    """A LASNet gate whose cost is paid and whose answer is a given mask.

    Args:
        channels: Of the block's input.
        mask: (B, h, w).
        fused: One pass in C++ instead of pooling, convolution and comparison.
    """

    def __init__(self, channels: int, mask: Tensor, fused: bool) -> None:
        self.weight = torch.randn(2, channels, 1, 1) / math.sqrt(channels)
        self.bias = torch.zeros(2)
        self.mask = mask
        self.fused = fused

    def __call__(self, x: Tensor) -> Tensor:
        grid = tuple(self.mask.shape[1:])
        if self.fused:
            cpp.gate(x, self.weight, self.bias, grid)
            return self.mask
        pooled = F.adaptive_avg_pool2d(x, grid) if grid != tuple(x.shape[2:]) else x
        logits = F.conv2d(pooled, self.weight, self.bias)
        _ = logits[:, 0] >= logits[:, 1]
        return self.mask


def _compare_but_return(mask: Tensor, logits: Tensor) -> Tensor:
    hard_mask(logits.unflatten(1, (2, -1)))
    return mask


class BenchNet:
    """mmpretrain's ResNet with random weights, folded, with blob masks.

    Args:
        depth: 50 or 101.
        granularities: S of each stage.
        rate: Share of active cells in every block.
        batch: Batch size.
        size: (H, W) of the image.
        head: Whether pooling and a classifier follow (else all stages are returned).
    """

    @torch.inference_mode(False)  # weights whose changes are counted
    def __init__(
        self,
        depth: int,
        granularities: tuple[int, ...],
        rate: float,
        batch: int = 1,
        size: tuple[int, int] = (224, 224),
        head: bool = True,
    ) -> None:
        from mmpretrain.models.backbones import ResNet

        torch.manual_seed(0)
        self.model = ResNet(depth, out_indices=(0, 1, 2, 3))
        self.model.eval()  # mm's returns None
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_var, 0.8, 1.2)
                nn.init.normal_(module.bias, 0, 0.1)
                if name.endswith('bn3'):
                    nn.init.constant_(module.weight, 0.2)
        model = self.model
        self.granularities = granularities
        self.fc = torch.randn(1000, 2048) / 45 if head else None
        weight, bias = fold_conv_bn(model.conv1, model.norm1)
        weight = weight.contiguous(memory_format=torch.channels_last)
        self.stem = FoldedConv(weight, bias, 2, 3)
        self.image = torch.randn(batch, 3, *size).contiguous(
            memory_format=torch.channels_last
        )
        self.stages: list[list[tuple[Gate, Gate, FoldedBlock]]] = []
        self.macs = self.dense_macs = 147 * 64 * size[0] * size[1] / 4 + (
            2048 * 1000 if head else 0
        )
        at, seed = (size[0] // 4, size[1] // 4), 0
        for name, s in zip(model.res_layers, granularities):
            stage = []
            for module in getattr(model, name):
                block = fold_block(module)
                out = block.out_size(at)
                mask = blob_mask(batch, coarse_size(out, s), rate, seed)
                gates = [Gate(block.in_channels, mask, fused) for fused in (0, 1)]
                stage.append((*gates, block))
                self._count(block, mask, at, out)
                at, seed = out, seed + 1
            self.stages.append(stage)

    def _count(self, block: FoldedBlock, mask: Tensor, size: tuple, out: tuple) -> None:
        full = upsample_mask(mask, out)
        rate = float(full.float().mean())
        needed = float(dilate_mask(full, block.stride, size).float().mean())
        area, inner = out[0] * out[1], size[0] * size[1]
        first, second, third = (conv.weight.numel() for conv in block.convs)
        fixed = 3 * block.in_channels * mask[0].numel()
        if block.shortcut is not None:
            fixed += block.shortcut.weight.numel() * area
        self.dense_macs += first * inner + (second + third) * area + fixed
        self.macs += first * inner * needed + (second + third) * area * rate + fixed

    @property
    def macs_ratio(self) -> float:
        """Share of the dense MACs that the masks leave."""
        return self.macs / self.dense_macs

    def _start(self, stem: Callable[[Tensor], Tensor]) -> Tensor:
        return F.max_pool2d(stem(self.image), 3, 2, 1)

    def _end(self, maps: list[Tensor]):
        if self.fc is None:
            return maps
        return F.linear(maps[-1].mean((2, 3)), self.fc)

    def _fast_stem(self, x: Tensor) -> Tensor:
        return prepacked(self.stem, x, True)

    def _plain_stem(self, x: Tensor) -> Tensor:
        return self.stem.dense(x).relu_()

    def sparse(self, backend: str, fused_gate: bool = False):
        """Run the blocks sparsely; the stem is the fast one except for ``torch``."""
        stem = self._plain_stem if backend == 'torch' else self._fast_stem
        x, maps = self._start(stem), []
        for stage in self.stages:
            blocks = [(gates[fused_gate], block) for *gates, block in stage]
            x, _ = run_blocks(x, blocks, backend)
            maps.append(x)
        return self._end(maps)

    def _dense(self, stem: Callable, run: Callable) -> Tensor | list[Tensor]:
        x, maps = self._start(stem), []
        for stage in self.stages:
            for gate, _, block in stage:
                x = run(block, x, gate)
            maps.append(x)
        return self._end(maps)

    def folded(self):
        """Dense: BN folded, channels last."""
        return self._dense(self._plain_stem, lambda b, x, _: dense_folded(b, x))

    def prepacked(self):
        """Dense: oneDNN's prepacked weights, everything fused."""
        return self._dense(self._fast_stem, lambda b, x, _: dense_prepacked(b, x))

    def masked(self):
        """Dense, gates run, branches multiplied by the masks: the published way."""
        return self._dense(
            self._plain_stem, lambda b, x, gate: dense_masked(b, x, gate(x))
        )

    def eager(self):
        """The untouched model, NCHW."""
        return self._end(self.model(self.image.contiguous()))

    @torch.inference_mode(False)
    def lasnet(self, mode: str) -> Callable[[], object]:
        """Return a LASResNet of these weights and masks; its own gates are paid.

        Args:
            mode: ``'execute'`` or ``'simulate'``.
        """
        from dynnet.models.backbones.las_resnet import LASResNet
        from dynnet.models.gates import set_execution

        depth = 101 if len(self.stages[2]) > 6 else 50
        net = LASResNet(depth, granularity=self.granularities, out_indices=(0, 1, 2, 3))
        net.load_state_dict(self.model.state_dict(), strict=False)
        net.to(memory_format=torch.channels_last)
        net.eval()
        gates = [gate for stage in self.stages for gate, *_ in stage]
        for block, gate in zip(net.gated_blocks, gates):
            block.gate.decide = partial(_compare_but_return, gate.mask[:, None].float())
        set_execution(net, mode)
        return lambda: self._end(net(self.image))

    def inductor(self) -> Callable[[], object]:
        """Return the model compiled by inductor with frozen weights."""
        import torch._inductor.config as config

        config.freezing = True
        model = torch.compile(self.model.to(memory_format=torch.channels_last))
        return lambda: self._end(model(self.image))


class BenchBlock:
    """One bottleneck of ResNet-101 at 224.

    Args:
        stage: 1 to 4.
        entry: The stage's first block (projection, stride) instead of a later one.
        granularity: S.
        rate: Share of active cells.
        batch: Batch size.
    """

    def __init__(
        self, stage: int, entry: bool, granularity: int, rate: float, batch: int
    ) -> None:
        from mmpretrain.models.backbones.resnet import Bottleneck

        torch.manual_seed(0)
        out = 128 * 2**stage
        stride = 2 if entry and stage > 1 else 1
        inputs = (64 if stage == 1 else out // 2) if entry else out
        downsample = None
        if entry:
            downsample = nn.Sequential(
                nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )
        module = Bottleneck(inputs, out, stride=stride, downsample=downsample)
        self.block = fold_block(module.eval())
        size = 112 // 2**stage
        side = size * stride
        x = torch.randn(batch, inputs, side, side).relu()
        self.x = x.contiguous(memory_format=torch.channels_last)
        mask = blob_mask(batch, coarse_size((size, size), granularity), rate, 0)
        self.mask = mask
        self.gates = [Gate(inputs, mask, fused) for fused in (False, True)]

    def sparse(self, backend: str, fused_gate: bool = False) -> Tensor:
        """Gate, then the block; ``x`` stays (so that it can be run again)."""
        mask = self.gates[fused_gate](self.x)
        return sparse_block(self.x, mask, self.block, backend, inplace=False)
