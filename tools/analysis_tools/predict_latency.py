"""Predict a dynamic network's latency on a device.

CONFIG is a config of a gated classifier or detector (over granularity and density), of
a multi-exit classifier (up to each exit) or of an AdaFocus (a clip, part by part), or
the name of a published network: resnet50, resnet101, regnety_400mf, regnety_800mf.

Example:
    python tools/analysis_tools/predict_latency.py resnet101 --device v100 \
        --densities 0.3 0.5 0.7 --target-density 0.5 --plot latency.png
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.latency import (
    Choice,
    DilationCurve,
    NetworkEstimate,
    NetworkSpec,
    best_granularity,
    break_even,
    build_model,
    device_names,
    estimate,
    explore,
    regnet_spec,
    resnet_spec,
)
from dynnet.latency.dilation import GENERATORS
from dynnet.latency.network import REGNETS, RESNETS
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file, or the name of a network')
    parser.add_argument(
        '--device',
        required=True,
        metavar='PROFILE',
        help=f'profile (JSON file) or one of {", ".join(device_names())}',
    )
    parser.add_argument('--batch', type=int, help="pictures; default: the device's")
    parser.add_argument('--backend', help="how blocks run; default: the device's first")
    parser.add_argument('--granularities', type=int, nargs='+', default=[1, 2, 4, 7, 8])
    parser.add_argument(
        '--densities', type=float, nargs='+', default=[0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    )
    parser.add_argument('--target-density', type=float, default=0.5)
    parser.add_argument('--input-size', type=int, default=224, help='side of a picture')
    parser.add_argument(
        '--masks',
        default='blob',
        metavar='KIND',
        help=f'{" or ".join(GENERATORS)}, or a JSON file of dilation curves',
    )
    parser.add_argument(
        '--published',
        action='store_true',
        help="leave out the stem, the head and stage 1's projection, and choose tiles "
        'as the published predictor does',
    )
    parser.add_argument('--blocks', action='store_true', help='report block by block')
    parser.add_argument('--out', metavar='FILE.json', help='write the results here')
    parser.add_argument('--plot', metavar='FILE.png', help='draw them here')
    return parser.parse_args(argv)


def published_network(name: str, side: int) -> NetworkSpec | None:
    """Describe a published network by its name; None: it is none.

    Args:
        name: Its name.
        side: Of the picture.
    """
    size = (side, side)
    if name in REGNETS:
        return regnet_spec(name, input_size=size)
    if name.startswith('resnet') and name[6:].isdigit() and int(name[6:]) in RESNETS:
        return resnet_spec(int(name[6:]), input_size=size)
    return None


def build_network(name: str) -> nn.Module:
    """Build the model of a config.

    Args:
        name: Config file.

    Raises:
        ConfigError: There is no such config, or its model has no backbone.
    """
    from dynnet.apis import init_model
    from dynnet.apis.inference import read_config

    model = init_model(read_config(name), device='cpu')
    if getattr(model, 'backbone', None) is None:
        raise ConfigError(f'{name}: {type(model).__name__} has no backbone')
    return model


def input_channels(model: nn.Module) -> int:
    """Channels of the pictures that a model takes."""
    convs = (m for m in model.backbone.modules() if isinstance(m, nn.Conv2d))
    return next(convs).in_channels


def gated_network(model: nn.Module, name: str, side: int) -> NetworkSpec:
    """Describe the gated backbone of a model.

    Args:
        model: Has a backbone.
        name: Its config.
        side: Of the picture.

    Raises:
        ConfigError: The backbone has no gates.
    """
    from dynnet.latency.describe import describe_model

    shape, backbone = (input_channels(model), side, side), model.backbone
    network = describe_model(backbone, shape, Path(name).stem)
    if not network.blocks:
        raise ConfigError(f'{name}: {type(backbone).__name__} has no gated blocks')
    return network


def find_curve(masks: str) -> DilationCurve:
    """The curve of dilated shares: of a generator, or stored."""
    return DilationCurve(masks) if masks in GENERATORS else DilationCurve.load(masks)


def format_choices(choices: Sequence[Choice]) -> str:
    """Lay stages, granularities and densities out: milliseconds and speed-up.

    Args:
        choices: Of :func:`dynnet.latency.explore`.
    """
    densities = sorted({c.density for c in choices})
    head = ''.join(f'{f"r={r:g}":>15s}' for r in densities)
    lines = [f'{"stage":5s} {"S":>2s} {"dense":>8s} {head}  ms per picture (x faster)']
    for stage in sorted({c.stage for c in choices}):
        for side in sorted({c.granularity for c in choices if c.stage == stage}):
            row = [c for c in choices if (c.stage, c.granularity) == (stage, side)]
            row.sort(key=lambda c: c.density)
            cells = ''.join(f'{c.ms:8.3f} ({c.speedup:4.2f})' for c in row)
            even = break_even(choices, stage, side)
            note = 'never faster' if even is None else f'pays up to r={even:g}'
            lines.append(
                f'{stage + 1:5d} {side:2d} {row[0].static_ms:8.3f} {cells}  {note}'
            )
    return '\n'.join(lines)


def format_blocks(found: NetworkEstimate) -> str:
    """Lay a network out block by block."""
    lines = [
        f'{"block":14s} {"backend":8s} {"ms":>8s} {"compute":>8s} {"memory":>8s} '
        f'{"launch":>8s}  bound by'
    ]
    scale = 1e3 / found.batch
    for part in found.parts:
        cost = part.cost
        lines.append(
            f'{part.name:14s} {part.backend:8s} {scale * part.latency:8.4f} '
            f'{scale * cost.compute:8.4f} {scale * cost.memory:8.4f} '
            f'{scale * cost.launch:8.4f}  {cost.bound}'
        )
    return '\n'.join(lines)


def report_exits(model: nn.Module, args: argparse.Namespace, device: Any) -> dict:
    """Predict a multi-exit classifier, print it, and return what is written."""
    from dynnet.latency.exits import exit_latencies

    shape = input_channels(model), args.input_size, args.input_size
    found = exit_latencies(model, shape, device)
    print(f'{"exit":>4s} {"ms per picture":>15s}')
    for k, ms in enumerate(found.ms, start=1):
        print(f'{k:4d} {ms:15.4f}')
    return dict(input_size=args.input_size, exits_ms=found.ms, unpriced=found.unpriced)


def report_clips(model: nn.Module, device: Any) -> dict:
    """Predict an AdaFocus, print it, and return what is written."""
    from dynnet.latency.clips import clip_latencies

    found = clip_latencies(model, device)
    unit = 'clip' if found.num_frames == 1 else 'frame'
    parts = ('glance', 'policy', 'focus', 'head')
    for name in parts:
        print(f'{name:8s} {getattr(found, name):10.4f} ms per {unit}')
    print(f'{"clip":8s} {found.total:10.4f} ms, {found.num_frames} x all of them')
    return dict(
        num_frames=found.num_frames,
        parts_ms={name: getattr(found, name) for name in parts},
        frames_ms=found.ms,
        clip_ms=found.total,
        unpriced=found.unpriced,
    )


def write(values: dict, path: str) -> None:
    """Write results as JSON."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values, indent=2) + '\n')


def report_static(model: nn.Module, args: argparse.Namespace, device: Any) -> None:
    """Predict what has no gates: early exits and clips.

    Raises:
        ConfigError: There is nothing to plot, or there are options of gates.
    """
    if args.plot or args.blocks or args.published or args.backend:
        raise ConfigError(
            f'{args.config} has no gates: --plot, --blocks, --published and --backend '
            'are for networks with gates'
        )
    name = Path(args.config).stem
    is_clip = hasattr(model, 'global_backbone')
    side = model.frame_size if is_clip else args.input_size
    print(f'{name} on {device.profile.name}, batch {device.batch}, {side} x {side}')
    if is_clip:
        found = report_clips(model, device)
    else:
        found = report_exits(model, args, device)
    if found['unpriced']:
        print('not priced: ' + ', '.join(found['unpriced']))
    if args.out:
        head = dict(network=name, device=device.profile.name, batch=device.batch)
        write(head | found, args.out)


def plot(choices: Sequence[Choice], title: str, path: str) -> None:
    """Draw milliseconds against density, a panel for each stage.

    Args:
        choices: What is drawn.
        title: Of the figure.
        path: The file.
    """
    from dynnet.visualization.figure import COLOURS, new_figure, save_figure

    stages = sorted({c.stage for c in choices})
    sides = sorted({c.granularity for c in choices})
    figure = new_figure(3.2 * len(stages), 3.2)
    figure.suptitle(title)
    for k, stage in enumerate(stages, start=1):
        axes = figure.add_subplot(1, len(stages), k)
        mine = [c for c in choices if c.stage == stage]
        axes.axhline(mine[0].static_ms, color='0.4', linestyle='--', label='dense')
        for i, side in enumerate(sides):
            row = sorted(
                (c for c in mine if c.granularity == side), key=lambda c: c.density
            )
            if row:
                axes.plot(
                    [c.density for c in row],
                    [c.ms for c in row],
                    marker='o',
                    markersize=3,
                    color=COLOURS[i % len(COLOURS)],
                    label=f'S = {side}',
                )
        axes.set_title(f'stage {stage + 1}')
        axes.set_xlabel('density r')
        axes.set_ylim(bottom=0)
        if k == 1:
            axes.set_ylabel('ms per picture')
            axes.legend(fontsize='small')
    save_figure(figure, path)


def main(argv: list[str] | None = None) -> None:
    """Predict, print, write and draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    tile_at = 'mean' if args.published else None
    model = build_model(args.device, args.batch, tile_at)
    network = published_network(args.config, args.input_size)
    if network is None:
        built = build_network(args.config)
        if hasattr(built, 'global_backbone') or hasattr(built.backbone, 'iter_exits'):
            report_static(built, args, model)
            return
        network = gated_network(built, args.config, args.input_size)
    curve = find_curve(args.masks)
    whole = not args.published
    densities = sorted({*args.densities, args.target_density})
    if not args.granularities or min(args.granularities) < 1:
        raise ConfigError(f'--granularities {args.granularities}: at least 1')
    choices = explore(
        network, model, args.granularities, densities, args.backend, curve, whole
    )
    best = best_granularity(choices, args.target_density)
    found = estimate(network, model, args.target_density, args.backend, whole, curve)
    title = f'{network.name} on {model.profile.name}, batch {model.batch}'
    print(title)
    print(format_choices(choices))
    sides = '-'.join(str(c.granularity) for c in best)
    print(f'best S at r={args.target_density:g}: {sides}')
    print(
        f'S {"-".join(map(str, network.granularity))} at r={args.target_density:g}: '
        f'{found.ms_per_image:.3f} ms per picture, '
        f'{1e3 * found.static / found.batch:.3f} without gates'
    )
    if args.blocks:
        print(format_blocks(found))
    if args.out:
        values = dict(
            network=network.name,
            device=model.profile.name,
            batch=model.batch,
            choices=[asdict(c) | dict(speedup=c.speedup) for c in choices],
            best=[c.granularity for c in best],
            target_density=args.target_density,
            ms_per_image=found.ms_per_image,
            static_ms_per_image=1e3 * found.static / found.batch,
            blocks=[
                dict(
                    name=part.name,
                    backend=part.backend,
                    ms=1e3 * part.latency / found.batch,
                    operators={n: asdict(cost) for n, cost in part.ops},
                )
                for part in found.parts
            ],
        )
        write(values, args.out)
    if args.plot:
        plot(choices, title, args.plot)


if __name__ == '__main__':
    sys.exit(run_main(main))
