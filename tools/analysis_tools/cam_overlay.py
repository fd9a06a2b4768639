"""Show what a classifier sees, and what it sees of the class; measure how they fit.

Two numbers for every picture of the test set, and their means: the distance between
CAAM and CAM of the labelled class (mean absolute difference of the min-max scaled
maps), and how much of the CAAM lies inside the largest 20 % of that CAM. Several nets,
such as one trained with CAM-loss and one without, are measured on the same pictures and
drawn side by side.

Example:
    python tools/analysis_tools/cam_overlay.py CONFIG.py plain.pth --name plain \
        --compare "CAM-loss" CAM_CONFIG.py cam.pth --out cams.png --json cams.json
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import default_collate
from torch import Tensor, nn

import dynnet  # noqa: F401  (registers dynnet's types and its configs)
from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.models.losses import (
    class_activation_map,
    class_agnostic_activation_map,
    map_distance,
    min_max_normalize,
    top_share,
)
from dynnet.registry import DATASETS
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError, DataError
from dynnet.visualization import PictureMaps, plot_cam_overlay


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config file; its test set is looked at')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--name', default='net', help='what to call the net')
    parser.add_argument(
        '--compare',
        nargs=3,
        action='append',
        default=[],
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'),
        help='another net, on the same pictures; may be given several times',
    )
    parser.add_argument('--out', required=True, help='the figure (.png, .pdf, ...)')
    parser.add_argument('--json', metavar='FILE', help='write the numbers here')
    parser.add_argument('--pictures', type=int, default=6, help='how many to draw')
    parser.add_argument(
        '--measure', type=int, default=1000, help='how many to measure at most'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the choice')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='settings that replace those of the first config',
    )
    return parser.parse_args(argv)


@dataclass
class Measured:
    """What one net sees in all pictures.

    Attributes:
        caam: Scaled class-agnostic maps (M, h, w).
        cam: Scaled class activation maps of the labels (M, h, w).
        predicted: Predicted classes (M,).
        distance: Distances (M,); NaN where a map is constant.
        share: Shares of the CAAM inside the CAM's largest fifth (M,).
    """

    caam: Tensor
    cam: Tensor
    predicted: Tensor
    distance: Tensor
    share: Tensor

    def summary(self, labels: Tensor) -> dict[str, float]:
        """Means over the pictures, and the accuracy on them in %."""
        return dict(
            distance=float(self.distance.nanmean()),
            share=float(self.share.mean()),
            constant_maps=int(self.distance.isnan().sum()),
            top1=float(100 * (self.predicted == labels).double().mean()),
            pictures=len(labels),
        )

    def first(self, number: int, classes: tuple) -> list[PictureMaps]:
        """The first pictures' maps, to be drawn.

        Args:
            number: How many.
            classes: Names of the classes.
        """
        return [
            PictureMaps(
                self.caam[i].numpy(),
                self.cam[i].numpy(),
                _class_name(classes, int(self.predicted[i])),
                float(self.distance[i]),
                float(self.share[i]),
            )
            for i in range(number)
        ]


def _class_name(classes: tuple, label: int) -> str:
    return str(classes[label]) if label < len(classes) else str(label)


def choose(number: int, length: int, seed: int) -> np.ndarray:
    """Draw pictures at random: a figure should not flatter.

    Args:
        number: How many at most.
        length: Number of pictures there are.
        seed: Seed of the choice.

    Returns:
        Indices in random order.
    """
    return np.random.default_rng(seed).permutation(length)[:number]


@torch.no_grad()
def measure(model: nn.Module, samples: list[dict], batch: int = 128) -> Measured:
    """Compute maps and numbers of all pictures.

    Args:
        model: A classifier with one linear layer ``head.fc`` behind the pooling.
        samples: What its test pipeline packed.
        batch: Pictures at once.

    Returns:
        The maps and numbers, on the CPU.

    Raises:
        ConfigError: The classifier has no class activation map.
        DataError: A label is not one of its classes.
    """
    fc = getattr(getattr(model, 'head', None), 'fc', None)
    if not isinstance(fc, nn.Linear):
        raise ConfigError(
            f'{type(model).__name__} has no head with one linear layer: there is no '
            'class activation map'
        )
    parts = []
    for start in range(0, len(samples), batch):
        data = default_collate([_stackable(s) for s in samples[start : start + batch]])
        data = model.data_preprocessor(
            dict(inputs=data['inputs'].to(fc.weight.device)), False
        )
        maps = model.extract_feat(data['inputs'], stage='backbone')
        feat = maps[-1]
        if feat.dim() != 4 or feat.size(1) != fc.in_features:
            raise ConfigError(
                f'the map before the pooling is {tuple(feat.shape)}, the linear layer '
                f'takes {fc.in_features} channels: it has no class activation map'
            )
        label = torch.tensor(
            [_label(s) for s in samples[start : start + batch]], device=feat.device
        )
        if int(label.max()) >= fc.out_features:
            raise DataError(
                f'label {int(label.max())} is not between 0 and {fc.out_features - 1}'
            )
        logits = model.head(model.neck(maps) if model.with_neck else maps)
        caam = class_agnostic_activation_map(feat.float())
        cam = class_activation_map(feat.float(), fc.weight.float(), label)
        distance, varies = map_distance(caam, cam)
        distance = torch.where(varies, distance, torch.nan)
        scaled = [min_max_normalize(m)[0] for m in (caam, cam)]
        part = (*scaled, logits.argmax(1), distance, top_share(caam, cam))
        parts.append([value.cpu() for value in part])
    return Measured(*(torch.cat(column) for column in zip(*parts)))


def _stackable(sample: dict) -> dict:
    return dict(inputs=sample['inputs'])


def _label(sample: dict) -> int:
    return int(sample['data_samples'].gt_label)


def read_samples(cfg: Config, number: int, seed: int) -> tuple[list[dict], tuple]:
    """Read pictures of a config's test set.

    Args:
        cfg: The config.
        number: How many at most.
        seed: Seed of the choice.

    Returns:
        The packed samples, and the names of the classes.
    """
    if cfg.get('test_dataloader') is None:
        raise ConfigError(f'{cfg.filename} has no test_dataloader')
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    chosen = choose(number, len(dataset), seed)
    classes = dataset.metainfo.get('classes')
    samples = [dataset[int(i)] for i in chosen]
    if classes is None:
        classes = [str(i) for i in range(1 + max(map(_label, samples)))]
    return samples, tuple(classes)


def to_image(sample: dict, swap: bool) -> np.ndarray:
    """Give a packed picture (C, H, W) back as an image, RGB or grey.

    Args:
        sample: The packed sample, uint8.
        swap: Whether its channels are BGR.
    """
    image = sample['inputs'].permute(1, 2, 0).numpy()
    if image.shape[2] == 1:
        return image[..., 0]
    return image[..., ::-1] if swap else image


def format_summary(summaries: dict[str, dict]) -> str:
    """Lay the means out as a table.

    Args:
        summaries: What :meth:`Measured.summary` returned, for each net.
    """
    lines = [f'{"net":20s} {"distance":>9s} {"inside top 20%":>15s} {"top-1 (%)":>10s}']
    for name, s in summaries.items():
        lines.append(
            f'{name:20s} {s["distance"]:9.4f} {100 * s["share"]:14.1f}% '
            f'{s["top1"]:10.2f}'
        )
        if s['constant_maps']:
            lines.append(f'{"":20s} ({s["constant_maps"]} constant maps left out)')
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure and draw.

    Args:
        argv: The arguments; None takes those of the process.
    """
    args = parse_args(argv)
    cfg = read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    nets = {args.name: (cfg, args.checkpoint)}
    for name, config, checkpoint in args.compare:
        if name in nets:
            raise ConfigError(f'two nets are called {name!r}')
        nets[name] = (read_config(config), checkpoint)
    samples, classes = read_samples(cfg, max(args.measure, args.pictures), args.seed)
    labels = torch.tensor([_label(sample) for sample in samples])
    measured = {
        name: measure(init_model(net_cfg, checkpoint), samples)
        for name, (net_cfg, checkpoint) in nets.items()
    }
    summaries = {name: m.summary(labels) for name, m in measured.items()}
    print(format_summary(summaries))
    figure = samples[: args.pictures]
    preprocessor = cfg.get('data_preprocessor') or cfg.model.get('data_preprocessor')
    swap = bool((preprocessor or {}).get('to_rgb', False))
    plot_cam_overlay(
        [to_image(sample, swap) for sample in figure],
        [_class_name(classes, _label(sample)) for sample in figure],
        {name: m.first(len(figure), classes) for name, m in measured.items()},
        args.out,
    )
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(summaries, indent=2) + '\n')


if __name__ == '__main__':
    sys.exit(run_main(main))
