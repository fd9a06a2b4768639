"""Does a learned patch policy look where the class is? A test with known truth.

Makes the moving-cue set, trains AdaFocus's stages 0, 1 and 2 on it, then stage 3 three
times from the same network: with the learned policy's patches, with patches in the
middle, with random ones. Reports accuracy and the distance of the patches from the cue,
and holds them against two bars: a mean distance of at most half of that of random
patches, and an accuracy at least 15 points above that of patches in the middle.

A stage whose last checkpoint is in the work folder is not trained again.

Example:
    python tools/benchmarks/adafocus_cue.py --work-dir work_dirs/cue --out cue.json
"""

import argparse
import json
import os
import runpy
import sys
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from dynnet.evaluation.functional import format_table, wilson_interval
from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main
from dynnet.utils.optional import require

ROOT = Path(__file__).resolve().parents[2]
TRAINED = (
    'adafocus-cue-stage0_1xb32-3e_moving-cue',
    'adafocus-cue-stage1_1xb32-10e_moving-cue',
    'adafocus-cue-stage2_1xb32-20e_moving-cue',
)
COMPARED = dict(
    learned='adafocus-cue-stage3_1xb32-4e_moving-cue',
    centre='adafocus-cue-stage3-centre_1xb32-4e_moving-cue',
    random='adafocus-cue-stage3-random_1xb32-4e_moving-cue',
)
MAX_DISTANCE, MIN_POINTS = 0.5, 15.0


def make_data(folder: Path) -> None:
    """Make the set, unless its last list is there.

    Args:
        folder: Of the set.
    """
    if not (folder / 'test.txt').is_file():
        tool = ROOT / 'tools/dataset_converters/make_moving_cue.py'
        runpy.run_path(str(tool))['main'](['--out', str(folder)])


def train(name: str, work_dir: Path, seed: int) -> tuple[Config, Path]:
    """Train a stage, if that was not done before.

    Args:
        name: Of its config.
        work_dir: Folder of all stages.
        seed: Seed of the run.

    Returns:
        The config and the last checkpoint.
    """
    cfg = Config.fromfile(str(ROOT / f'configs/adafocus/{name}.py'))
    cfg.work_dir = str(work_dir / name)
    cfg.randomness.seed = seed
    if cfg.load_from:
        cfg.load_from = cfg.load_from.replace('work_dirs', str(work_dir), 1)
    last = work_dir / name / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    if not last.is_file():
        Runner.from_cfg(cfg).train()
    return cfg, last


def compare(work_dir: Path, seed: int) -> dict:
    """Run all stages and test the three variants.

    Args:
        work_dir: Folder of all stages.
        seed: Seed of the runs.

    Returns:
        A row per variant, and how the learned one stands to the others.
    """
    begin = time.time()
    for name in TRAINED:
        train(name, work_dir, seed)
    rows = {}
    for variant, name in COMPARED.items():
        cfg, last = train(name, work_dir, seed)
        cfg.load_from = str(last)
        metrics = Runner.from_cfg(cfg).test()
        clips = metrics['video/num_clips']
        hits = round(metrics['video/top1'] * clips / 100)
        rows[variant] = dict(
            top1=metrics['video/top1'],
            top1_95=[100 * bound for bound in wilson_interval(hits, clips)],
            clips=clips,
            distance=metrics['patch/distance'],
            covered=metrics['patch/covered'],
        )
    ratio = rows['learned']['distance'] / rows['random']['distance']
    points = rows['learned']['top1'] - rows['centre']['top1']
    return dict(
        seed=seed,
        rows=rows,
        distance_of_random=ratio,
        max_distance_of_random=MAX_DISTANCE,
        points_above_centre=points,
        min_points_above_centre=MIN_POINTS,
        holds=ratio <= MAX_DISTANCE and points >= MIN_POINTS,
        seconds=round(time.time() - begin),
    )


def format_report(report: dict) -> str:
    """Lay a report out as text."""
    header = ['patches', 'top-1 (%)', '95 %', 'distance (px)', 'cue in patch (%)']
    cells = [
        [
            name,
            f'{row["top1"]:.1f}',
            '{:.1f} to {:.1f}'.format(*row['top1_95']),
            f'{row["distance"]:.1f}',
            f'{row["covered"]:.1f}',
        ]
        for name, row in report['rows'].items()
    ]
    said = (
        f'distance {report["distance_of_random"]:.2f} of random (at most '
        f'{MAX_DISTANCE}), {report["points_above_centre"]:.1f} points above centre (at '
        f'least {MIN_POINTS:.0f}): {"holds" if report["holds"] else "does not hold"}'
    )
    return f'{format_table(header, cells)}\n{said}'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/cue'))
    parser.add_argument(
        '--data', type=Path, help='the moving-cue set; default: inside the work folder'
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', metavar='FILE', help='write the report to this .json')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    """Run the comparison.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The report.
    """
    args = parse_args(argv)
    require('mmaction', 'adafocus_cue.py')
    data = args.data or args.work_dir / 'moving_cue'
    make_data(data)
    os.environ['MOVING_CUE_ROOT'] = str(data)  # the configs' data_root
    report = compare(args.work_dir, args.seed)
    print(format_report(report))
    if args.out:
        write_atomic(args.out, (json.dumps(report, indent=2) + '\n').encode())
    return report


if __name__ == '__main__':
    sys.exit(run_main(main))
