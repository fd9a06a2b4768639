"""How much does it matter where an AdaFocus looks? Asked before a policy is trained.

Takes a network of stage 1 (or later), looks at every frame in every place of a grid,
and prints how much surer of the truth the best place makes it than the mean place: that
is the most reward a policy can collect. Near zero, no policy can learn.

Example:
    python tools/analysis_tools/patch_headroom.py CONFIG CHECKPOINT --split train val
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.runner import Runner

from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.evaluation.functional import format_table
from dynnet.models.policies.headroom import Headroom, summarise_headroom, try_places
from dynnet.models.recognizers.patch_recognizer import draw_labels
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of an AdaFocus, recurrent form')
    parser.add_argument('checkpoint', help='its checkpoint, of stage 1 or later')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=('train', 'val', 'test'),
        default=['train', 'val'],
        help='whose clips: those of these loaders',
    )
    parser.add_argument('--places', type=int, default=16, help='a square number')
    parser.add_argument('--max-samples', type=int, default=256)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', metavar='FILE', help='write the figures to this .json')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(argv)


def measure(
    model: torch.nn.Module,
    loader: torch.utils.data.DataLoader,
    places: int,
    number: int,
) -> tuple[Headroom, int]:
    """Look at the loader's first clips everywhere.

    Returns:
        The figures, and the number of clips.

    Raises:
        ConfigError: No clip in the loader.
    """
    confidences, right, seen = [], [], 0
    for data in loader:
        data = model.data_preprocessor(data, False)
        labels = draw_labels(data['data_samples'], model.cls_head.num_classes)
        frames = model.prepare(data['inputs'])[: number - seen]
        labels = labels.to(frames.device)[: len(frames)]
        for kept, part in zip(
            (confidences, right), try_places(model, frames, labels, places)
        ):
            kept.append(part)
        seen += len(frames)
        if seen >= number:
            break
    if not seen:
        raise ConfigError('the loader has no clips')
    return summarise_headroom(torch.cat(confidences, 1), torch.cat(right)), seen


def main(argv: list[str] | None = None) -> dict:
    """Measure.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The figures by split.
    """
    args = parse_args(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    model = init_model(cfg, args.checkpoint)
    report, rows = {}, []
    for split in args.split:
        loader_cfg = dict(cfg[f'{split}_dataloader'])
        with scope_of(cfg):
            loader = Runner.build_dataloader(loader_cfg, seed=args.seed)
        torch.manual_seed(args.seed)
        found, clips = measure(model, loader, args.places, args.max_samples)
        report[split] = dict(clips=clips, places=args.places, **asdict(found))
        rows.append(
            [
                split,
                str(clips),
                f'{found.confidence:.3f}',
                f'{found.place_sd:.4f}',
                f'{100 * found.place_share:.2f}',
                f'{found.ceiling:.4f}',
                f'{100 * found.right_mean:.1f}',
                f'{100 * found.right_best:.1f}',
            ]
        )
    header = ['clips of', 'number', 'confidence', 'its SD over places']
    header += ['share of the place (%)', 'best - mean place', 'right (%)']
    header += ['right in some place (%)']
    print(format_table(header, rows))
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + '\n')
    return report


if __name__ == '__main__':
    sys.exit(run_main(main))
