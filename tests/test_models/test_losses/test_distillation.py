"""Distillation: the formula, the direction, and a teacher that stays what it is."""

import copy

import pytest
import torch
from torch import nn

from dynnet.models.layers import FrozenTeacher
from dynnet.models.losses import kd_loss


def test_formula():
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    p, q = ((x / 4).softmax(1) for x in (student, teacher))
    expected = 16 * (q * (q.log() - p.log())).sum(1).mean()
    assert torch.allclose(kd_loss(student, teacher), expected, atol=1e-12)
    assert kd_loss(student, student).abs() < 1e-12


def test_gradient_flows_into_the_student_alone():
    student, teacher = torch.randn(2, 5, 7).unbind()
    student.requires_grad_()
    teacher.requires_grad_()
    kd_loss(student, teacher, 1.0).backward()
    expected = (student.softmax(1) - teacher.softmax(1)) / 5
    assert torch.allclose(student.grad, expected, atol=1e-6)
    assert teacher.grad is None


def test_float32_inside_autocast():
    student, teacher = torch.randn(2, 4, 3).unbind()
    with torch.autocast('cpu', torch.bfloat16):
        inside = kd_loss(student, teacher)
    assert inside.dtype == torch.float32 and inside == kd_loss(student, teacher)


def test_refusals():
    with pytest.raises(ValueError, match='same classes.*5.*6'):
        kd_loss(torch.zeros(2, 5), torch.zeros(2, 6))
    with pytest.raises(ValueError, match='temperature'):
        kd_loss(torch.zeros(2, 5), torch.zeros(2, 5), 0)


class Student(nn.Module):
    def __init__(self, teacher):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.teacher = FrozenTeacher(teacher)


def test_teacher_is_no_part_of_the_student():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    student = Student(net)
    before = copy.deepcopy(net.state_dict())
    assert set(student.state_dict()) == {'linear.weight', 'linear.bias'}
    assert len(list(student.parameters())) == 2
    net.train()
    student.train()
    x = torch.randn(8, 3, requires_grad=True)
    out = student.teacher(x)
    assert not out.requires_grad and not net.training
    assert torch.equal(out, student.teacher(x))  # no dropout
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert copy.deepcopy(student).teacher is student.teacher


def test_weights_must_fit(tmp_path):
    good, bad = str(tmp_path / 'good.pth'), str(tmp_path / 'bad.pth')
    weights = nn.Linear(3, 2).state_dict()
    torch.save(dict(state_dict=weights), good)
    torch.save(dict(state_dict=dict(weight=weights['weight'])), bad)
    teacher = FrozenTeacher(nn.Linear(3, 2), good)
    assert torch.equal(teacher.model.weight, weights['weight'])
    with pytest.raises(RuntimeError, match='bias'):
        FrozenTeacher(nn.Linear(3, 2), bad)
