"""CAAM-CAM matching between nets of different sizes."""

import pytest
import torch

from dynnet.models.losses import CAMLoss, CAMMatchingLoss
from dynnet.utils.errors import ConfigError, DataError


def make(student=(3, 4, 6, 6), teacher=(3, 7, 6, 6), classes=5):
    torch.manual_seed(0)
    weight = torch.randn(classes, teacher[1])
    feats = torch.rand(student).requires_grad_(), torch.rand(teacher).requires_grad_()
    return *feats, weight.requires_grad_(), torch.tensor([0, 4, 2])


def scale(x):
    return (x - x.min()) / (x.max() - x.min())


def test_value_is_the_formula():
    student, teacher, weight, target = make()
    total = 0
    for s, t, y in zip(student, teacher, target):
        cam = (weight[y][:, None, None] * t).sum(0)
        total += (scale(s.sum(0)) - scale(cam)).abs().mean()
    value = CAMMatchingLoss()(student, teacher, weight, target)
    assert torch.allclose(value, 3 * total / 3)


def test_a_student_that_is_its_teacher_has_the_distance_of_cam_loss():
    student, _, _, target = make()
    weight = torch.randn(5, 4)
    same = CAMMatchingLoss()(student, student, weight, target)
    assert torch.allclose(same, CAMLoss()(student, weight, target))


def test_only_the_student_learns():
    student, teacher, weight, target = make()
    CAMMatchingLoss()(student, teacher, weight, target).backward()
    assert (student.grad != 0).any() and teacher.grad is None and weight.grad is None


@pytest.mark.parametrize(
    ('size', 'student', 'teacher', 'common'),
    [
        ('smaller', 8, 4, 4),
        ('smaller', 4, 8, 4),
        ('student', 8, 4, 8),
        ('student', 4, 8, 4),
        (2, 8, 4, 2),
    ],
)
def test_sizes_are_averaged_before_the_scaling(size, student, teacher, common):
    s, t, weight, target = make((3, 4, student, student), (3, 7, teacher, teacher))
    pool = torch.nn.AdaptiveAvgPool2d(common)
    total = 0
    for n in range(3):
        cam = pool((weight[target[n]][:, None, None] * t[n]).sum(0)[None])
        total += (scale(pool(s[n].sum(0)[None])) - scale(cam)).abs().mean()
    value = CAMMatchingLoss(size=size)(s, t, weight, target)
    assert torch.allclose(value, total, atol=1e-6)


def test_each_direction_has_its_own_size():
    s, t, weight, target = make((3, 4, 8, 3), (3, 7, 4, 6))
    assert CAMMatchingLoss()._common_size((8, 3), (4, 6)) == (4, 3)
    assert CAMMatchingLoss()(s, t, weight, target) > 0


def test_constant_maps_and_half_precision():
    student, teacher, weight, target = make()
    student = student.detach().clone()
    student[1] = 0
    distance, constant = CAMMatchingLoss().measure(student, teacher, weight, target)
    assert constant.tolist() == [False, True, False] and distance[1] == 0
    half = CAMMatchingLoss()(
        student.bfloat16(), teacher.bfloat16(), weight.bfloat16(), target
    )
    assert half.dtype == torch.float32


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(student=torch.rand(3, 4)), ConfigError, 'the student has'),
        (dict(student=torch.rand(3, 4, 1, 1)), ConfigError, '1x1'),
        (dict(teacher=torch.rand(3, 2, 4, 4)), ConfigError, '2 channels'),
        (dict(target=torch.tensor([0, 1, 5])), DataError, 'label 5'),
    ],
)
def test_bad_input_is_named(change, error, message):
    given = dict(zip(('student', 'teacher', 'weight', 'target'), make()), **change)
    with pytest.raises(error, match=message):
        CAMMatchingLoss()(**given)


@pytest.mark.parametrize('settings', [dict(size=1), dict(size='teacher')])
def test_bad_settings_are_named(settings):
    with pytest.raises(ConfigError, match='size='):
        CAMMatchingLoss(**settings)
