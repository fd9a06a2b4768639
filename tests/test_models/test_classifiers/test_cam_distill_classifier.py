"""The student of CAAM-CAM matching, and its teacher outside of it."""

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample

from dynnet.models.losses import kd_loss
from dynnet.registry import MODELS
from dynnet.utils.errors import CheckpointError, ConfigError

NET = dict(type='dynnet.CIFARResNet', depth=20, base_channels=4, stem_channels=4)
STUDENT = dict(
    type='dynnet.CAMDistillClassifier',
    backbone=NET,
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=16),
)
# Wider, with smaller maps (4x4 against 8x8) and the other kind of head.
TEACHER = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=4, base_channels=4),
    head=dict(type='dynnet.CAMLinearClsHead', num_classes=4, in_channels=32),
)
X = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def build(cfg: dict) -> torch.nn.Module:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(copy.deepcopy(cfg))


@pytest.fixture(scope='module')
def teacher():
    return build(TEACHER)


@pytest.fixture
def student(teacher):
    return build(dict(STUDENT, teacher=copy.deepcopy(teacher)))


def samples() -> list[DataSample]:
    return [DataSample().set_gt_label(i % 4) for i in range(6)]


def test_losses_add_up_and_only_the_student_learns(student, teacher):
    student.train()
    losses = student(X, samples(), mode='loss')
    assert {'loss', 'loss_match', 'match_distance', 'match_constant_maps'} <= set(
        losses
    )
    total, _ = student.parse_losses(losses)
    assert torch.equal(total, losses['loss'] + losses['loss_match'])
    before = copy.deepcopy(student.teacher.model.state_dict())
    optimizer = torch.optim.SGD(student.parameters(), lr=1.0)
    total.backward()
    optimizer.step()
    for name, value in student.teacher.model.state_dict().items():
        assert torch.equal(value, before[name])  # running statistics, too
    assert all(p.grad is None for p in student.teacher.model.parameters())
    assert not student.teacher.model.training


def test_teacher_is_no_part_of_the_student(student):
    plain = build(dict(STUDENT, type='ImageClassifier'))
    assert list(student.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in student.named_parameters()] == [
        n for n, _ in plain.named_parameters()
    ]
    plain.load_state_dict(student.state_dict())
    student.eval(), plain.eval()
    with torch.no_grad():
        assert torch.equal(student(X), plain(X))
        a, b = student.predict(X), plain.predict(X)
    assert all(torch.equal(p.pred_score, q.pred_score) for p, q in zip(a, b))


def test_matching_is_what_the_loss_says(student, teacher):
    losses = student(X, samples(), mode='loss')
    student_map = student.backbone(X)[-1]
    with torch.no_grad():
        teacher_map = teacher.eval().backbone(X)[-1]
    assert student_map.shape[2:] != teacher_map.shape[2:]
    target = torch.arange(6) % 4
    weight = teacher.head.fc.weight
    expected = student.loss_match(student_map, teacher_map, weight, target)
    assert torch.allclose(losses['loss_match'], expected)


def test_classic_term(teacher):
    kd = dict(loss_weight=0.5, temperature=2.0)
    student = build(dict(STUDENT, teacher=copy.deepcopy(teacher), kd=kd))
    losses = student(X, samples(), mode='loss')
    with torch.no_grad():
        expected = 0.5 * kd_loss(student(X), teacher.eval()(X), 2.0)
    assert torch.allclose(losses['loss_kd'], expected)


def test_teachers_own_class_can_be_the_target(teacher):
    student = build(dict(STUDENT, teacher=copy.deepcopy(teacher), target='pred'))
    losses = student(X, samples(), mode='loss')
    with torch.no_grad():
        predicted = teacher.eval()(X).argmax(1)
        teacher_map, student_map = teacher.backbone(X)[-1], student.backbone(X)[-1]
    args = (student_map, teacher_map, teacher.head.fc.weight)
    assert torch.allclose(losses['loss_match'], student.loss_match(*args, predicted))
    assert not torch.allclose(
        losses['loss_match'], student.loss_match(*args, (predicted + 1) % 4)
    )


def test_cam_loss_and_matching_together(teacher):
    head = dict(STUDENT['head'], type='dynnet.CAMLinearClsHead')
    cfg = dict(STUDENT, teacher=copy.deepcopy(teacher), neck=None, head=head)
    losses = build(cfg)(X, samples(), mode='loss')
    assert losses['loss_cam'] > 0 and losses['loss_match'] > 0


def test_weights_are_loaded_when_they_are_needed(teacher, tmp_path):
    path = tmp_path / 'teacher.pth'
    cfg = dict(STUDENT, teacher=TEACHER, teacher_ckpt=str(path))
    student = build(cfg)  # and nothing is there yet
    student.eval()
    with torch.no_grad():
        student.predict(X)
    with pytest.raises(CheckpointError, match='teacher.pth does not exist'):
        student(X, samples(), mode='loss')
    torch.save(dict(state_dict=teacher.state_dict()), path)
    state = torch.get_rng_state()
    student(X, samples(), mode='loss')
    assert torch.equal(torch.get_rng_state(), state)
    loaded = student.teacher.model.state_dict()
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, loaded[name])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(teacher=TEACHER), 'teacher_ckpt'),
        (dict(target='labels'), 'target='),
        (dict(kd=dict(tau=3)), r"\['tau'\]"),
        (dict(kd=dict(temperature=0)), 'temperature must be positive'),
    ],
)
def test_bad_settings_are_named(change, message, teacher):
    with pytest.raises(ConfigError, match=message):
        build(dict(dict(STUDENT, teacher=copy.deepcopy(teacher)), **change))


def test_teachers_that_cannot_teach():
    other = copy.deepcopy(TEACHER)
    other['head']['num_classes'] = 7
    with pytest.raises(ConfigError, match='teacher has 7 classes, the student 4'):
        build(dict(STUDENT, teacher=build(other)))
    stacked = dict(
        TEACHER,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='StackedLinearClsHead',
            num_classes=4,
            in_channels=32,
            mid_channels=[8],
        ),
    )
    with pytest.raises(ConfigError, match='StackedLinearClsHead has none'):
        build(dict(STUDENT, teacher=build(stacked)))
