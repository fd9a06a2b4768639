"""Recognise videos with AdaFocus, and show where it looked.

Example:
    python tools/video_demo.py configs/adafocus/CONFIG.py epoch_10.pth skiing.mp4 \
        --show-dir looked
"""

import argparse
import json
import sys

from mmengine.config import DictAction

from dynnet.apis import VideoInferencer
from dynnet.apis.command_line import parse_thresholds, read_model_config
from dynnet.evaluation.functional import format_table
from dynnet.utils.atomic import write_atomic
from dynnet.utils.cli import run_main


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('videos', nargs='+', help='video files')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='write each video with its patches there'
    )
    parser.add_argument(
        '--show-format',
        choices=['mp4', 'png'],
        default='mp4',
        help='a video, or all frames in one picture',
    )
    parser.add_argument(
        '--thresholds',
        nargs='+',
        metavar='T',
        help='for leaving early: numbers, one per frame but the last, or a JSON file',
    )
    parser.add_argument(
        '--budget', type=float, help='mean MACs per clip, picks the thresholds'
    )
    parser.add_argument(
        '--mode',
        choices=['execute', 'simulate'],
        default='execute',
        help='execute: compute what is needed; simulate: compute everything',
    )
    parser.add_argument('--device', help='cpu, cuda:0, ...; default: a GPU if there is')
    parser.add_argument('--out', metavar='FILE', help='write the results to this .json')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the config',
    )
    return parser.parse_args(argv)


def format_results(videos: list[str], results: list[dict]) -> str:
    """Lay the predictions out as a table.

    Args:
        videos: Path of each video.
        results: What :class:`VideoInferencer` returned.
    """
    rows = []
    for video, result in zip(videos, results):
        name = str(result['class_name'] or result['label'])
        cells = [video, name, f'{result["score"]:.3f}', str(result['frames'])]
        cells += [str(int(result['focused'].sum())), f'{result["macs"] / 1e9:.3f}']
        rows.append([*cells, f'{result["ms"]:.1f}'])
    header = ['video', 'class', 'score', 'frames', 'patches', 'GMACs', 'ms']
    return format_table(header, rows)


def main(argv: list[str] | None = None) -> None:
    """Predict.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    inferencer = VideoInferencer(
        read_model_config(args),
        args.checkpoint,
        parse_thresholds(args.thresholds),
        args.budget,
        args.mode,
        args.device,
    )
    results = inferencer(args.videos, args.show_dir, args.show_format)
    print(format_results(args.videos, results))
    if args.out:
        named = [
            dict(video=video)
            | {
                key: value.tolist() if hasattr(value, 'tolist') else value
                for key, value in result.items()
            }
            for video, result in zip(args.videos, results)
        ]
        write_atomic(args.out, (json.dumps(named, indent=2) + '\n').encode())


if __name__ == '__main__':
    sys.exit(run_main(main))
