"""The straightforward form of RANet and MSDNet: what a plain port costs.

Written from the networks' definition: modules as they stand, concatenation at every
layer, every resize executed. It shares the weights of the network it is given, and it
is checked to give the same logits before anything is timed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def run_straightforward(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the logits (N, C) of all exits of a RANet or MSDNet classifier."""
    run = _ranet if hasattr(model.backbone, 'scale_flows') else _msdnet
    logits = []
    for branch, feat in zip(model.head.exits, run(model.backbone, x)):
        feat = _unit(branch.m[1], _unit(branch.m[0], feat))
        logits.append(branch.linear(branch.m[2](feat).flatten(1)))
    return logits


def _unit(module: nn.Module, x: Tensor) -> Tensor:
    return module.net(x) if hasattr(module, 'net') else module(x)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=True)


def _ranet(net: nn.Module, x: Tensor) -> list[Tensor]:
    inputs = []
    for layer in net.FirstLayer.layers:
        x = _unit(layer, x)
        inputs.append(x)
    outs, lower = [], []
    for flow, x in zip(net.scale_flows, reversed(inputs)):
        handed = []
        for b, block in enumerate(flow):
            fused = b < len(lower)
            feats = [x]
            for i, layer in enumerate(block.layers):
                new = _unit(layer.conv_normal, x)
                if fused:
                    up = _unit(layer.conv_up, lower[b][i])
                    x = torch.cat([_resize(x, new), _resize(up, new), new], 1)
                else:
                    x = torch.cat([x, new], 1)
                feats.append(x)
            if fused:
                last = _unit(block.conv_last, lower[b][-1])
                x = torch.cat([x, _resize(last, x)], 1)
            if block.trans is not None:
                x = _unit(block.trans, x)
            if not fused:
                outs.append(x)
            handed.append(feats)
        lower = handed
    return outs


def _msdnet(net: nn.Module, x: Tensor) -> list[Tensor]:
    outs, maps = [], []
    for layer in net.blocks[0][0].layers:
        x = _unit(layer, x)
        maps.append(x)
    for i, block in enumerate(net.blocks):
        for module in list(block)[1 if i == 0 else 0 :]:
            if hasattr(module, 'm'):
                maps = [_unit(conv, x) for conv, x in zip(module.m, maps)]
                continue
            new = []
            for s, unit in enumerate(module.layers, start=module.dropped):
                parts = [maps[s]]
                if hasattr(unit, 'conv_down'):
                    parts.append(_unit(unit.conv_down, maps[s - 1]))
                parts.append(_unit(unit.conv_normal, maps[s]))
                new.append(torch.cat(parts, 1))
            maps = new
        outs.append(maps[-1])
    return outs
