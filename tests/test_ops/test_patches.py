"""Patches: where they are, what they hold, and the gradient of where."""

import math

import pytest
import torch

from dynnet.ops.patches import (
    action_grid,
    centre_corners,
    crop_by_index,
    crop_patches,
    patch_corners,
    random_corners,
    sample_patches,
)
from dynnet.utils.errors import ConfigError


@pytest.fixture
def frames():
    return torch.randn(6, 3, 40, 40, generator=torch.Generator().manual_seed(0))


CORNERS = torch.tensor([[0, 0], [24, 24], [3, 20], [20, 3], [7, 7], [24, 0]])


def test_all_exact_forms_are_the_pixels(frames):
    expected = torch.stack(
        [f[:, y : y + 16, x : x + 16] for f, (y, x) in zip(frames, CORNERS.tolist())]
    )
    assert crop_patches(frames, CORNERS, 16).equal(expected)
    assert crop_by_index(frames, CORNERS, 16).equal(expected)
    sampled = sample_patches(frames, CORNERS / 24, 16)
    torch.testing.assert_close(sampled, expected, rtol=0, atol=1e-4)


def test_the_memory_format_stays(frames):
    frames = frames.contiguous(memory_format=torch.channels_last)
    patches = crop_patches(frames, CORNERS, 16)
    assert patches.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize('corner', [(-1, 0), (0, 25), (25, 0)])
def test_a_corner_outside_is_refused(frames, corner):
    with pytest.raises(IndexError, match='leaves the 40x40 frame'):
        crop_patches(frames[:1], torch.tensor([corner]), 16)


def test_a_patch_larger_than_the_frame_is_refused(frames):
    for call in (
        lambda: crop_patches(frames, CORNERS, 41),
        lambda: sample_patches(frames, CORNERS / 24, 41),
        lambda: patch_corners(torch.zeros(2), 40, 41),
        lambda: random_corners((1,), 40, 41),
    ):
        with pytest.raises(ConfigError, match='patch_size=41 does not fit'):
            call()


def test_gradient_of_the_place_is_the_finite_difference(frames):
    x = torch.nn.functional.interpolate(frames[:2, :, :8, :8].double(), 40)
    x = torch.nn.functional.avg_pool2d(x, 9, 1, 4)  # smooth
    weight = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    # In the middle of a pixel: bilinear interpolation bends at its edges.
    actions = torch.tensor([[5.4, 9.6], [12.3, 2.7]]) / 24

    def value(a):
        return (sample_patches(x.float(), a, 16) * weight.float()).sum()

    actions.requires_grad_()
    (grad,) = torch.autograd.grad(value(actions), actions)
    step = 0.004
    for i in range(2):
        for j in range(2):
            shift = torch.zeros(2, 2)
            shift[i, j] = step
            with torch.no_grad():
                slope = (value(actions + shift) - value(actions - shift)) / (2 * step)
            assert math.isclose(float(grad[i, j]), float(slope), rel_tol=0.02)


def test_random_corners_never_take_the_last_place():
    corners = random_corners((4000,), 20, 16, generator=torch.manual_seed(0))
    assert corners.shape == (4000, 2)
    assert sorted(corners.unique().tolist()) == [0, 1, 2, 3]
    assert random_corners((3,), 16, 16).eq(0).all()
    assert centre_corners((2, 3), 20, 16).eq(2).all()


def test_ends_of_the_frame_are_reached():
    assert patch_corners(torch.tensor([0.0, 1.0]), 224, 96).tolist() == [0, 128]
    assert action_grid(49)[[0, 1, 7, 48]].tolist() == [
        [0, 0],
        [0, pytest.approx(1 / 6)],
        [pytest.approx(1 / 6), 0],
        [1, 1],
    ]
    for wrong in (0, 1, 48):
        with pytest.raises(ConfigError, match='square number'):
            action_grid(wrong)
