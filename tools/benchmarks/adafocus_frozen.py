"""Why does a patch policy not learn? Settings tried in seconds, on frozen encoders.

Both encoders stay as a checkpoint has them; every frame is looked at in every place of
a grid once, and what they said is kept. On that, stages 1 to 3 are trained for each
fold and each setting: with the package's classifier, policy, reward and PPO loss, but
without augmentation. The held-out predictions of all folds are pooled.

Example:
    export VIDEO_FOLDER_ROOT=clips
    python tools/benchmarks/adafocus_frozen.py work_dirs/mobilenetv2.pth \
        --patch-size 64 --places 25 --out frozen.json
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from dynnet.apis import init_model
from dynnet.apis.inference import read_config, scope_of
from dynnet.evaluation.functional import format_table, wilson_interval
from dynnet.models.heads.sequence_head import RecurrentHead
from dynnet.models.policies import PatchPolicy, confidence_reward, ppo_loss
from dynnet.models.policies.headroom import Headroom, summarise_headroom
from dynnet.models.policies.rewards import confidence
from dynnet.models.recognizers.patch_recognizer import draw_labels
from dynnet.ops.patches import action_grid, patch_corners
from dynnet.utils.checkpoint import load_checkpoint
from dynnet.utils.cli import run_main
from dynnet.utils.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/adafocus/adafocus-mobilenet-stage1_1xb16-8e_video-folder.py'
FOLDS = 3
BATCH = 16


@dataclass(frozen=True)
class Setting:
    """What is varied; the defaults are the config's.

    Attributes:
        stage1: Epochs of stage 1.
        glance: Whether the classifier reads the glance's features too.
        stage2: Epochs of stage 2.
        lr: Adam's learning rate in stage 2.
        reward: Kind of the reward.
        entropy: Weight of the policy's entropy.
        stage3: Epochs of stage 3.
    """

    stage1: int = 8
    glance: bool = True
    stage2: int = 8
    lr: float = 3e-4
    reward: str = 'random'
    entropy: float = 0.01
    stage3: int = 3


LONG = Setting(stage1=40, stage2=30, lr=1e-3)
SETTINGS = {
    'config': Setting(),
    'long': LONG,
    'no-glance': replace(LONG, glance=False),
    'no-glance-conf': replace(LONG, glance=False, reward='conf'),
    'no-glance-prev': replace(LONG, glance=False, reward='prev'),
    'no-glance-no-entropy': replace(LONG, glance=False, entropy=0.0),
    'no-glance-fast': replace(LONG, glance=False, lr=3e-3),
    'no-glance-150': replace(LONG, glance=False, stage2=150),
    'no-glance-short-150': replace(LONG, glance=False, stage1=15, stage2=150),
    'no-glance-150-no-entropy': replace(LONG, glance=False, stage2=150, entropy=0.0),
}


@dataclass
class Features:
    """What the frozen encoders say about all clips.

    Attributes:
        maps: f_G's (N, T, C, h, w).
        local: f_L's, in every place of the grid (N, T, A, D).
        labels: Shape (N,).
        folds: Fold in which a clip is held out (N,).
    """

    maps: Tensor
    local: Tensor
    labels: Tensor
    folds: Tensor

    def part(self, index: Tensor) -> 'Features':
        """Those of some clips."""
        return Features(*(value[index] for value in vars(self).values()))


def read_fold(fold: int, patch_size: int) -> Config:
    """The config on one fold.

    Args:
        fold: Its number.
        patch_size: Of the model.
    """
    cfg = read_config(CONFIG)
    cfg.model.patch_size = patch_size
    cfg.val_dataloader.dataset.ann_file = f'fold{fold}_val.txt'
    cfg.val_dataloader.num_workers = 0
    return cfg


@torch.no_grad()
def extract(checkpoint: str, patch_size: int, places: int) -> Features:
    """Run the encoders once on the test frames of all clips."""
    model = init_model(read_fold(0, patch_size))
    state = load_checkpoint(checkpoint)['state_dict']
    lost = model.load_state_dict(state, strict=False).missing_keys
    lost = [name for name in lost if 'backbone.' in name]
    if lost:
        raise CheckpointError(
            f'{checkpoint}: no {lost[0]}, both encoders must be there'
        )
    grid = action_grid(places)
    corners = patch_corners(grid, model.frame_size, patch_size)
    maps, local, labels, folds = [], [], [], []
    for fold in range(FOLDS):
        cfg = read_fold(fold, patch_size)
        with scope_of(cfg):
            loader = Runner.build_dataloader(dict(cfg.val_dataloader))
        for data in loader:
            data = model.data_preprocessor(data, False)
            frames = model.prepare(data['inputs'])
            n, t = frames.shape[:2]
            flat = frames.flatten(0, 1)
            maps.append(model.encode_global(flat).unflatten(0, (n, t)))
            looked = [model.look(flat, c.expand(n * t, 2)) for c in corners]
            local.append(torch.stack(looked, 1).unflatten(0, (n, t)))
            labels.append(draw_labels(data['data_samples'], 2))
            folds.append(torch.full((n,), fold))
    return Features(*map(torch.cat, (maps, local, labels, folds)))


class Trial:
    """Stages 1 to 3 of one setting on one fold.

    Args:
        setting: What is varied.
        data: The clips to learn from.
        seed: Of everything that is drawn.
    """

    def __init__(self, setting: Setting, data: Features, seed: int) -> None:
        torch.manual_seed(seed)
        self.setting, self.data = setting, data
        width = data.maps.size(2) * setting.glance + data.local.size(-1)
        self.num_places = data.local.size(2)
        self.head = RecurrentHead(
            2, in_channels=width, hidden_channels=128, dropout=0.5
        )
        self.policy = PatchPolicy(
            data.maps.size(2),
            data.maps.size(-1),
            hidden_channels=256,
            num_actions=self.num_places,
        )
        self.rewards: list[float] = []

    def feats(self, data: Features, places: Tensor) -> Tensor:
        """The classifier's input (N, T, D) with the patches in these places (N, T)."""
        index = places[..., None, None].expand(-1, -1, 1, data.local.size(-1))
        local = data.local.gather(2, index).squeeze(2)
        if not self.setting.glance:
            return local
        return torch.cat([data.maps.mean((3, 4)), local], -1)

    def places(self, data: Features, kind: str) -> Tensor:
        """Where to look (N, T): ``'learned'``, ``'centre'`` or ``'random'``."""
        shape = data.local.shape[:2]
        if kind == 'centre':
            return torch.full(shape, self.num_places // 2)
        if kind == 'random':
            return torch.randint(self.num_places, shape)
        with torch.no_grad():
            output = self.policy(data.maps.transpose(0, 1))
        return self.policy.greedy(output).t()

    def batches(self) -> list[Features]:
        """An epoch."""
        order = torch.randperm(len(self.data.labels))
        return [self.data.part(index) for index in order.split(BATCH)]

    def train_head(self, epochs: int, lr: float, kind: str) -> None:
        """Stages 1 (random places) and 3."""
        self.head.train()
        optimizer = torch.optim.SGD(
            self.head.parameters(), lr, momentum=0.9, weight_decay=1e-4
        )
        steps = epochs * -(-len(self.data.labels) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(epochs):
            for batch in self.batches():
                logits = self.head(self.feats(batch, self.places(batch, kind)))
                optimizer.zero_grad()
                self.head.loss(logits, batch.labels).backward()
                optimizer.step()
                schedule.step()
        self.head.eval()

    def train_policy(self) -> None:
        """Stage 2; keeps the mean gain over random places, whatever the reward is."""
        setting = self.setting
        optimizer = torch.optim.Adam(self.policy.parameters(), setting.lr)
        for _ in range(setting.stage2):
            gains = []
            for batch in self.batches():
                output = self.policy(batch.maps.transpose(0, 1))
                actions = self.policy.sample(output)
                with torch.no_grad():
                    logits, states = self.head.run(self.feats(batch, actions.t()))
                    others = self.feats(batch, self.places(batch, 'random'))
                    logits = logits.transpose(0, 1)
                    baseline = self.head.peek(others, states).transpose(0, 1)
                    rewards = confidence_reward(
                        logits, batch.labels, baseline, setting.reward
                    )
                    gain = confidence_reward(logits, batch.labels, baseline)
                    gains.append(float(gain.mean()))
                log_probs = self.policy.log_probs(output, actions)
                terms = ppo_loss(
                    rewards,
                    log_probs,
                    log_probs.detach(),
                    output.values,
                    self.policy.entropy(output),
                    entropy_weight=setting.entropy,
                )
                optimizer.zero_grad()
                terms.loss.backward()
                optimizer.step()
            self.rewards.append(sum(gains) / len(gains))

    @torch.no_grad()
    def look_everywhere(self, data: Features) -> tuple[Tensor, Tensor]:
        """What :func:`~dynnet.models.policies.headroom.try_places` gives."""
        states = self.head.run(self.feats(data, self.places(data, 'random')))[1]
        shape = data.local.shape[:2]
        conf, right = [], []
        for place in range(self.num_places):
            feats = self.feats(data, torch.full(shape, place))
            peeked = self.head.peek(feats, states).transpose(0, 1)
            conf.append(confidence(peeked, data.labels))
            right.append(self.head(feats)[:, -1].argmax(-1) == data.labels)
        return torch.stack(conf, -1), torch.stack(right, -1)

    def gain(self, data: Features) -> float:
        """How much surer the policy's best places make than the mean place."""
        conf, _ = self.look_everywhere(data)
        places = self.places(data, 'learned').t()[..., None]
        return float((conf.gather(-1, places).squeeze(-1) - conf.mean(-1)).mean())

    @torch.no_grad()
    def hits(self, data: Features, kind: str) -> int:
        """Clips that are right after the last frame."""
        logits = self.head(self.feats(data, self.places(data, kind)))[:, -1]
        return int((logits.argmax(-1) == data.labels).sum())


def run_setting(setting: Setting, data: Features, seed: int) -> dict:
    """Train on every fold and pool what is held out.

    Returns:
        ``hits`` by kind of patch, of ``clips``. Means of the folds: ``headroom`` after
        stage 1; ``reward`` in stage 2, over random places (``first`` epoch, ``last``
        three); ``gain`` of the policy's best places over the mean place.
    """
    hits = dict.fromkeys(('learned', 'centre', 'random'), 0)
    rooms: dict[str, list[Headroom]] = dict(train=[], held_out=[])
    rewards, gains = [], []
    for fold in range(FOLDS):
        held_out = data.part(data.folds == fold)
        trial = Trial(setting, data.part(data.folds != fold), seed)
        trial.train_head(setting.stage1, 0.02, 'random')
        for name, part in (('train', trial.data), ('held_out', held_out)):
            rooms[name].append(summarise_headroom(*trial.look_everywhere(part)))
        trial.train_policy()
        rewards.append((trial.rewards[0], sum(trial.rewards[-3:]) / 3))
        gains.append((trial.gain(trial.data), trial.gain(held_out)))
        start = {k: v.clone() for k, v in trial.head.state_dict().items()}
        for kind in hits:
            trial.head.load_state_dict(start)
            torch.manual_seed(seed)
            trial.train_head(setting.stage3, 0.005, kind)
            hits[kind] += trial.hits(held_out, kind)
    return dict(
        setting=asdict(setting),
        clips=len(data.labels),
        hits=hits,
        headroom={
            name: {
                key: sum(getattr(room, key) for room in found) / FOLDS
                for key in asdict(found[0])
            }
            for name, found in rooms.items()
        },
        reward=dict(zip(('first', 'last'), _means(rewards))),
        gain=dict(zip(('train', 'held_out'), _means(gains))),
    )


def _means(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    first, second = zip(*pairs)
    return sum(first) / len(first), sum(second) / len(second)


def format_rows(report: dict[str, dict]) -> str:
    """Lay the report out as a table."""
    header = ['setting', 'ceiling, train', 'held out', 'reward']
    header += ['gain, train', 'held out']
    header += [f'right: {kind}' for kind in ('learned', 'centre', 'random')]
    rows = []
    for name, row in report.items():
        cells = [name]
        cells += [f'{row["headroom"][k]["ceiling"]:.4f}' for k in ('train', 'held_out')]
        cells.append(f'{row["reward"]["first"]:.4f} to {row["reward"]["last"]:.4f}')
        cells += [f'{row["gain"][k]:.4f}' for k in ('train', 'held_out')]
        for hits in row['hits'].values():
            low, high = (100 * x for x in wilson_interval(hits, row['clips']))
            cells.append(f'{hits} ({low:.1f} to {high:.1f} %)')
        rows.append(cells)
    return format_table(header, rows)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line.

    Args:
        argv: The arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', help='both encoders (PREPARE.md, own videos)')
    parser.add_argument('--patch-size', type=int, default=96)
    parser.add_argument('--places', type=int, default=25, help='odd square number')
    parser.add_argument('--features', help='keep what the encoders say in this .pt')
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', metavar='FILE', help='write the report to this .json')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    """Try the settings.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The report by setting.

    Raises:
        ConfigError: ``--places`` has no place in the middle.
    """
    args = parse_args(argv)
    if args.places % 2 == 0:
        raise ConfigError(f'--places {args.places}: an odd one has one in the middle')
    if args.features and Path(args.features).is_file():
        data = Features(**torch.load(args.features, weights_only=True))
    else:
        data = extract(args.checkpoint, args.patch_size, args.places)
        if args.features:
            torch.save(vars(data), args.features)
    report = {}
    for name in args.settings:
        report[name] = run_setting(SETTINGS[name], data, args.seed)
        print(format_rows({name: report[name]}).splitlines()[-1], flush=True)
    print(format_rows(report))
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + '\n')
    return report


if __name__ == '__main__':
    sys.exit(run_main(main))
