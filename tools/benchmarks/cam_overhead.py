"""What CAM-loss costs: a training step with it against the plain one.

Rows:

* ``cam_train_r18cifar``: forward, losses, backward, SGD step and zero_grad of ResNet-18
  for CIFAR with CAM-loss, against the same with cross-entropy alone.
* without ``--quick``: the two heads alone, losses and backward on a fixed map, which is
  where all of the difference is; the step for ResNet-20, and at weight 0 (only logged);
  inference with the head that carries the loss against the plain classifier.

Before timing, the two nets are checked to have the same keys, logits and MACs.
"""

import copy
from functools import partial

import torch
from harness import Case, make_parser, run
from mmengine.analysis import get_model_complexity_info
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

from dynnet.models.classifiers import add_cam_loss
from dynnet.registry import MODELS

BATCH = 64
BACKBONES = dict(
    r18cifar=(dict(type='ResNet_CIFAR', depth=18), 512),
    resnet20=(dict(type='dynnet.CIFARResNet', depth=20), 64),
)


def build(name: str, loss_weight: float | None = None) -> nn.Module:
    """Build a classifier, plain or with CAM-loss, always with the same weights."""
    backbone, channels = BACKBONES[name]
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=channels),
    )
    if loss_weight is not None:
        cfg = add_cam_loss(cfg, dict(loss_weight=loss_weight))
    torch.manual_seed(0)
    return MODELS.build(copy.deepcopy(cfg))


class TrainingStep:
    """One training step on the same made batch.

    Args:
        model: The classifier.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        model.train()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(BATCH, 3, 32, 32, generator=generator)
        self.samples = [DataSample().set_gt_label(i % 10) for i in range(BATCH)]

    def __call__(self) -> None:
        # The harness times in inference mode.
        with torch.inference_mode(False), torch.enable_grad():
            losses = self.model(self.inputs, self.samples, mode='loss')
            total, _ = self.model.parse_losses(losses)
            total.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def check_same(plain: nn.Module, ours: nn.Module) -> None:
    """Stop unless inference is the same: keys, logits, MACs."""
    x = torch.randn(2, 3, 32, 32)
    plain.eval(), ours.eval()
    with torch.no_grad():
        same = torch.equal(plain(x), ours(x))
    macs = [
        get_model_complexity_info(m, inputs=(x,), show_table=False, show_arch=False)[
            'flops'
        ]
        for m in (plain, ours)
    ]
    if not same or macs[0] != macs[1] or [*plain.state_dict()] != [*ours.state_dict()]:
        raise RuntimeError('the head with CAM-loss is not the plain classifier')


def training_case(name: str, bar: float | None, loss_weight: float = 3.0) -> Case:
    """A step with CAM-loss against a plain one."""
    plain, ours = build(name), build(name, loss_weight)
    check_same(plain, ours)
    suffix = '' if loss_weight else '_weight0'
    return Case(
        f'cam_train_{name}{suffix}',
        BATCH,
        TrainingStep(ours),
        TrainingStep(plain),
        'step with cross-entropy alone',
        bar,
        dict(format='NCHW', bn_folded=False, loss_weight=loss_weight),
        repeats=4,  # the bar is narrow: each timing averages the noise of a few steps
    )


class HeadStep:
    """Losses and backward of the head (and neck) alone, from a made map.

    Args:
        model: The classifier.
        size: Height and width of its last map.
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        self.model = model
        generator = torch.Generator().manual_seed(0)
        shape = (BATCH, model.head.in_channels, size, size)
        self.feat = torch.rand(shape, generator=generator).requires_grad_()
        self.samples = [DataSample().set_gt_label(i % 10) for i in range(BATCH)]

    def __call__(self) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            maps = (self.feat,)
            feats = self.model.neck(maps) if self.model.with_neck else maps
            losses = self.model.head.loss(feats, self.samples)
            self.model.parse_losses(losses)[0].backward()
            self.feat.grad = None


def head_case(name: str, size: int) -> Case:
    """The two heads alone."""
    return Case(
        f'cam_head_{name}',
        BATCH,
        HeadStep(build(name, 3.0), size),
        HeadStep(build(name), size),
        'pooling and linear layer with cross-entropy alone',
        extra=dict(format='NCHW', bn_folded=False, loss_weight=3.0),
    )


def inference_case(name: str) -> Case:
    """Inference with the head that carries the loss against the plain classifier."""
    x = torch.randn(BATCH, 3, 32, 32)
    plain, ours = build(name).eval(), build(name, 3.0).eval()
    return Case(
        f'cam_infer_{name}',
        BATCH,
        partial(ours, x),
        partial(plain, x),
        'plain classifier',
        extra=dict(format='NCHW', bn_folded=False),
    )


def main() -> None:
    """Measure."""
    args = make_parser(__doc__.splitlines()[0]).parse_args()
    init_default_scope('mmpretrain')
    cases = [training_case('r18cifar', bar=1.03)]
    if not args.quick:
        cases += [
            head_case('r18cifar', size=4),
            head_case('resnet20', size=8),
            training_case('resnet20', bar=None),
            training_case('resnet20', bar=None, loss_weight=0.0),
            inference_case('resnet20'),
        ]
    run(cases, args, 'tools/benchmarks/cam_overhead.py')


if __name__ == '__main__':
    main()
