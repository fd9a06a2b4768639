"""Let the test pictures really leave early, at several budgets, with a clock running.

The thresholds are those that tools/test.py --save-thresholds has solved. The full
forward and the budgets take turns on every batch, in an order that rotates, so that a
busy machine slows all of them alike.

Example:
    python tools/test.py CONFIG CHECKPOINT --save-thresholds thresholds.json \
        --cfg-options test_cfg.budgets=[0.3,0.5] test_cfg.relative_budgets=True
    python tools/analysis_tools/execute_budgets.py CONFIG CHECKPOINT thresholds.json \
        --gallery exits.png
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mmengine.config import DictAction
from mmengine.runner import Runner
from torch import Tensor, nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.evaluation.functional import format_shares, format_table
from dynnet.models.classifiers.early_exit import run_early_exit
from dynnet.models.exits import ExitThresholds, OperatingPoint, assign_exits
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError
from dynnet.visualization import GalleryPicture, choose_pictures, plot_exit_gallery


@dataclass
class Tally:
    """What running the test set in one way gave.

    Attributes:
        seconds: Time in the network.
        exits: Where each picture left, from 0.
        labels: What each was taken for.
        confidences: The largest softmax of each, where it left.
        agree: How many have the exit and the label that simulation gives them.
    """

    seconds: float = 0.0
    exits: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    agree: int = 0

    def add(self, logits: Tensor, exits: Tensor) -> None:
        """Add a batch that left with ``logits`` (N, C) at ``exits`` (N,)."""
        confidences, labels = logits.float().softmax(1).max(1)
        self.exits += exits.tolist()
        self.labels += labels.tolist()
        self.confidences += confidences.tolist()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file of a multi-exit classifier')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('thresholds', help='thresholds of tools/test.py')
    parser.add_argument(
        '--points',
        nargs='+',
        metavar='NAME',
        help='operating points of the thresholds, such as p10; default: those that '
        'were solved for a budget',
    )
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--out', metavar='FILE.json', help='write the results here')
    parser.add_argument(
        '--gallery',
        metavar='FILE.png',
        help='draw pictures that left first beside those that needed the last exit',
    )
    parser.add_argument(
        '--gallery-point', metavar='NAME', help='point of the gallery; default: middle'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )
    return parser.parse_args(argv)


def choose_points(
    thresholds: ExitThresholds, names: Sequence[str] | None
) -> list[OperatingPoint]:
    """Look operating points up.

    Args:
        thresholds: The solved thresholds.
        names: Names of the points; None for those that were solved for a budget.

    Returns:
        The points.

    Raises:
        ConfigError: There are none of that name, or none with a budget.
    """
    known = {point.name: point for point in thresholds.points}
    if names is None:
        names = [p.name for p in thresholds.points if p.budget is not None]
        if not names:
            raise ConfigError(
                'the thresholds hold no point that was solved for a budget: name '
                f'points with --points ({", ".join(known)})'
            )
    for name in names:
        if name not in known:
            raise ConfigError(
                f'no operating point {name}: there are {", ".join(known)}'
            )
    return [known[name] for name in names]


@torch.inference_mode()
def execute(
    model: nn.Module, loader: Iterable, points: Sequence[OperatingPoint]
) -> tuple[list[Tally], np.ndarray]:
    """Run the test set in full and at each operating point.

    Args:
        model: The classifier, in eval mode.
        loader: The test loader.
        points: The operating points.

    Returns:
        A tally per point and, at the end, that of the full forward; the true labels
        (N,).
    """
    full = len(points)  # one more job beside the points
    tallies = [Tally() for _ in range(full + 1)]
    targets: list[int] = []
    jobs = list(range(full + 1))
    parts = model.backbone, model.head, model.criterion

    def run(job: int, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if job == full:
            return model(x)
        return run_early_exit(*parts, points[job].thresholds, x)

    for batch in loader:
        data = model.data_preprocessor(batch)
        x = data['inputs']
        jobs = jobs[1:] + jobs[:1]
        if not targets:  # the first run of everything is slow
            for job in jobs:
                run(job, x)
        outputs = {}
        for job in jobs:
            start = now()
            outputs[job] = run(job, x)
            tallies[job].seconds += now() - start
        targets += [int(sample.gt_label) for sample in data['data_samples']]
        logits = outputs.pop(full)
        last = torch.full((len(x),), len(logits) - 1, device=x.device)
        tallies[full].add(logits[-1], last)
        scores = model.criterion.score_all(logits)
        rows = torch.arange(len(x), device=x.device)
        for job, (left_with, exits) in outputs.items():
            tallies[job].add(left_with, exits)
            planned = assign_exits(scores, points[job].thresholds)
            same = logits[planned, rows].argmax(1) == left_with.argmax(1)
            tallies[job].agree += int((same & (planned == exits)).sum())
    return tallies, np.array(targets)


def now() -> float:
    """The time, when the device has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def summarise(
    points: Sequence[OperatingPoint],
    tallies: Sequence[Tally],
    targets: np.ndarray,
    thresholds: ExitThresholds,
) -> list[dict]:
    """Turn tallies into results.

    Args:
        points: The operating points.
        tallies: Theirs, and that of the full forward.
        targets: True labels (N,).
        thresholds: For the costs.

    Returns:
        One dict per tally.
    """
    costs = np.array(thresholds.exit_costs)
    rows = []
    for point, tally in zip([*points, None], tallies):
        shares = np.bincount(tally.exits, minlength=len(costs)) / len(tally.exits)
        rows.append(
            dict(
                point='full forward' if point is None else point.name,
                budget=None if point is None else point.budget,
                mean_cost=float(shares @ costs),
                cost_ratio=float(shares @ costs / costs[-1]),
                ms_per_picture=1000 * tally.seconds / len(targets),
                time_ratio=tally.seconds / tallies[-1].seconds,
                top1=100 * float(np.mean(np.array(tally.labels) == targets)),
                exit_fractions=shares.tolist(),
                same_as_simulated=None if point is None else tally.agree,
                pictures=len(targets),
            )
        )
    return rows


def format_rows(rows: Sequence[dict], unit: str) -> str:
    """Lay :func:`summarise`'s results out as a table.

    Args:
        rows: The results.
        unit: Unit of the costs.

    Returns:
        The table and a line on execution against simulation.
    """
    scale, name = (1e6, 'MACs (M)') if unit == 'MACs' else (1.0, unit)
    cells = [
        [
            'none' if row['budget'] is None else f'{row["budget"] / scale:.2f}',
            f'{row["mean_cost"] / scale:.2f}',
            f'{100 * row["cost_ratio"]:.0f}%',
            f'{row["ms_per_picture"]:.3f}',
            f'{100 * row["time_ratio"]:.0f}%',
            f'{row["top1"]:.2f}',
            format_shares(row['exit_fractions']),
        ]
        for row in rows
    ]
    for row, line in zip(rows, cells):
        if row['budget'] is None:
            line[0] = row['point']
    header = ['budget', name, 'of full', 'ms/picture', 'of full', 'top-1 (%)']
    executed = rows[:-1]
    agree = sum(row['same_as_simulated'] for row in executed)
    total = sum(row['pictures'] for row in executed)
    return (
        format_table([*header, 'left at exit 1.. (%)'], cells)
        + f'\nExecution and simulation agree (exit and class) in {agree} of {total} '
        'cases.'
    )


def draw_gallery(
    dataset, model: nn.Module, tally: Tally, targets: np.ndarray, path: str
) -> None:
    """Draw pictures that left first beside those that needed the last exit.

    Args:
        dataset: The test set; the pictures are drawn as its transforms leave them.
        model: The classifier.
        tally: What execution gave.
        targets: True labels (N,).
        path: The file.
    """
    classes = dataset.metainfo.get('classes') or [
        str(i) for i in range(model.head.num_classes)
    ]
    exits = np.array(tally.exits)
    bgr = getattr(model.data_preprocessor, 'to_rgb', False)

    def group(exit_index: int) -> list[GalleryPicture]:
        pictures = []
        for i in choose_pictures(exits, exit_index, number=20):
            image = dataset[int(i)]['inputs'].permute(1, 2, 0).numpy()
            image = image[..., 0] if image.shape[2] == 1 else image
            pictures.append(
                GalleryPicture(
                    image=image[..., ::-1] if bgr and image.ndim == 3 else image,
                    label=classes[targets[i]],
                    prediction=classes[tally.labels[i]],
                    confidence=tally.confidences[i],
                )
            )
        return pictures

    def title(exit_index: int, text: str) -> str:
        share = 100 * float(np.mean(exits == exit_index))
        return f'{text}: {share:.0f} % of the pictures'

    last = model.num_exits - 1
    titles = title(0, 'Left at exit 1'), title(last, f'Needed exit {last + 1}')
    plot_exit_gallery(group(0), group(last), path, titles)


def main(argv: list[str] | None = None) -> None:
    """Execute.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    thresholds = ExitThresholds.load(args.thresholds)
    points = choose_points(thresholds, args.points)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    model = init_model(cfg, args.checkpoint)
    if not hasattr(model, 'set_thresholds'):
        raise ConfigError(
            f'{args.config} describes a {type(model).__name__}, not a '
            'MultiExitClassifier'
        )
    thresholds.check_model(model.criterion.config, model.num_exits)
    loader_cfg = dict(cfg.test_dataloader, batch_size=args.batch_size)
    loader_cfg.setdefault('collate_fn', dict(type='default_collate'))
    with scope_of(cfg):
        loader = Runner.build_dataloader(loader_cfg)
    tallies, targets = execute(model, loader, points)
    rows = summarise(points, tallies, targets, thresholds)
    device = next(model.parameters()).device.type
    threads = f', {torch.get_num_threads()} threads' if device == 'cpu' else ''
    print(
        f'Means over {len(targets)} test pictures, batches of {args.batch_size} on '
        f'{device}{threads}:\n{format_rows(rows, thresholds.cost_unit)}'
    )
    if args.out:
        path = Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=2) + '\n')
    if args.gallery:
        names = [point.name for point in points]
        name = args.gallery_point or names[len(names) // 2]
        if name not in names:
            raise ConfigError(
                f'--gallery-point {name}: executed are {", ".join(names)}'
            )
        draw_gallery(
            loader.dataset, model, tallies[names.index(name)], targets, args.gallery
        )


if __name__ == '__main__':
    sys.exit(run_main(main))
