"""Rotation against interpolation, per-sample convolution against a loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from dynnet.ops import (
    allocate_kernels,
    mix_kernels,
    per_sample_conv2d,
    rotate_and_mix,
    rotate_kernels,
    rotation_matrix,
)

DEGREE = math.pi / 180


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def interpolate(kernels: torch.Tensor, angle: float) -> torch.Tensor:
    """Read kernels (N, 1, 3, 3) on a grid turned clockwise, by torch's sampler."""
    line = torch.tensor([-1.0, 0.0, 1.0], dtype=kernels.dtype)
    y, x = torch.meshgrid(line, line, indexing='ij')
    c, s = math.cos(angle), math.sin(angle)
    grid = torch.stack((x * c - y * s, x * s + y * c), -1)
    return F.grid_sample(
        kernels,
        grid.expand(len(kernels), -1, -1, -1),
        padding_mode='border',
        align_corners=True,
    )


@pytest.mark.parametrize('degrees', [-45, -40, -17.3, -1e-3, 0, 1e-3, 8, 33, 45])
def test_is_bilinear_interpolation_up_to_45_degrees(degrees):
    kernels = torch.randn(5, 1, 3, 3, dtype=torch.float64)
    ours = rotate_kernels(
        kernels.unsqueeze(1), torch.full((5,), degrees * DEGREE, dtype=torch.float64)
    )
    expected = interpolate(kernels, degrees * DEGREE)
    torch.testing.assert_close(ours[:, 0], expected, rtol=0, atol=1e-12)


def test_content_turns_counter_clockwise():
    kernel = torch.zeros(1, 1, 1, 3, 3)
    kernel[..., 1, 2] = 1  # right
    turned = rotate_kernels(kernel, torch.tensor([90 * DEGREE]))
    assert turned[0, 0, 0, 0, 1] == pytest.approx(1, abs=1e-6)  # top


@pytest.mark.parametrize('angle', [0.0, -0.0])
def test_no_rotation_is_exactly_the_identity(angle):
    theta = torch.tensor(angle, requires_grad=True)
    matrix = rotation_matrix(theta)
    assert torch.equal(matrix.detach(), torch.eye(9))
    noise = torch.randn(9, 9)
    (gradient,) = torch.autograd.grad((matrix * noise).sum(), theta)
    above = torch.tensor(1e-6, dtype=torch.float64)
    slope = (rotation_matrix(above) - torch.eye(9)) / 1e-6
    assert gradient.item() == pytest.approx((slope * noise).sum().item(), abs=1e-3)


def test_rows_sum_to_one_and_signs_mirror():
    angles = torch.linspace(-3, 3, 31, dtype=torch.float64)
    matrices = rotation_matrix(angles)
    torch.testing.assert_close(matrices.sum(-1), torch.ones(31, 9).double())
    mirror = torch.arange(9).view(3, 3).flip(1).flatten()
    torch.testing.assert_close(
        matrices.flip(0), matrices[:, mirror][:, :, mirror], rtol=0, atol=1e-12
    )


def test_gradients_of_mixing():
    weight = torch.randn(3, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    angles = torch.tensor(
        [[0.3, -0.5, 0.1], [-0.2, 0.6, 0.4]], dtype=torch.float64, requires_grad=True
    )
    gates = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotate_and_mix, (weight, angles, gates))


def test_mixing_is_the_sum_over_rotated_kernels():
    weight = allocate_kernels(3, 4, 2, (3, 3)).normal_()
    angles, gates = torch.randn(5, 3) / 2, torch.rand(5, 3)
    ours = rotate_and_mix(weight, angles, gates)
    for b in range(5):
        turned = rotate_kernels(weight, angles[b])
        expected = (gates[b].view(-1, 1, 1, 1, 1) * turned).sum(0)
        torch.testing.assert_close(ours[b], expected)
    plain = rotate_and_mix(weight, torch.zeros(5, 3), gates)
    torch.testing.assert_close(plain, mix_kernels(weight, gates))
    expected = torch.einsum('bn,noihw->boihw', gates, weight)
    torch.testing.assert_close(plain, expected)
    other_layout = rotate_and_mix(weight.contiguous(), angles, gates)
    torch.testing.assert_close(other_layout, ours)


def test_refuses_what_cannot_be_rotated():
    with pytest.raises(ValueError, match='3x3'):
        rotate_and_mix(torch.zeros(2, 1, 1, 5, 5), torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match='2 kernels need'):
        rotate_and_mix(torch.zeros(2, 1, 1, 3, 3), torch.zeros(1, 3), torch.zeros(1, 3))


@pytest.mark.parametrize('batch', [0, 1, 3])
@pytest.mark.parametrize(
    'geometry', [(1, 1, 1, 1), (2, 1, 1, 2), (1, (2, 1), 2, 4), (1, 'same', 1, 1)]
)
def test_per_sample_conv(batch, geometry):
    x = torch.randn(batch, 4, 7, 6)
    weight = torch.randn(batch, 8, 4 // geometry[-1], 3, 3)
    bias = torch.randn(8)
    ours = per_sample_conv2d(x, weight, bias, *geometry)
    each = [F.conv2d(a[None], w, bias, *geometry) for a, w in zip(x, weight)]
    if each:
        torch.testing.assert_close(ours, torch.cat(each))
    else:
        assert (
            ours.shape
            == F.conv2d(
                torch.zeros(0, 4, 7, 6),
                *weight.new_zeros(1, *weight.shape[1:]),
                bias,
                *geometry,
            ).shape
        )


def test_per_sample_conv_as_groups(monkeypatch):
    """The form for GPUs and graphs."""
    from dynnet.ops import per_sample_conv

    x, weight = torch.randn(3, 4, 7, 6), torch.randn(3, 8, 2, 3, 3)
    bias = torch.randn(8)
    one_by_one = per_sample_conv2d(x, weight, bias, 2, 1, 1, 2)
    monkeypatch.setattr(per_sample_conv, '_makes_graph', lambda: True)
    torch.testing.assert_close(
        per_sample_conv2d(x, weight, bias, 2, 1, 1, 2), one_by_one
    )


def test_per_sample_conv_wants_a_kernel_per_sample():
    with pytest.raises(ValueError, match='2 samples need as many kernels'):
        per_sample_conv2d(torch.zeros(2, 1, 3, 3), torch.zeros(3, 1, 1, 3, 3))
