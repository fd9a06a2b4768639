import pytest
import torch

from dynnet.ops.patches import patch_corners
from dynnet.registry import MODELS

SMALL = dict(
    in_channels=4, map_size=3, mid_channels=2, hidden_channels=8, num_actions=9
)


@pytest.fixture
def policies():
    built = {
        name: MODELS.build(dict(type=f'dynnet.{name}', **SMALL))
        for name in ('PatchPolicy', 'CentrePatchPolicy', 'RandomPatchPolicy')
    }
    state = built['PatchPolicy'].state_dict()
    for policy in built.values():  # a learned policy's checkpoint fits
        policy.load_state_dict(state, strict=True)
    return built


def corners(policy, steps=5, samples=300):
    output = policy(torch.randn(steps, samples, 4, 3, 3))
    return patch_corners(policy.places(policy.greedy(output)), 96, 32)


def test_the_middle(policies):
    assert (corners(policies['CentrePatchPolicy']) == 32).all()


def test_random_places_are_even_and_new_each_time(policies):
    torch.manual_seed(0)
    first, second = (corners(policies['RandomPatchPolicy']) for _ in range(2))
    assert first.shape == (5, 300, 2) and (first != second).any()
    assert first.min() == 0 and first.max() == 63  # 64, the last place, never
    mean = first.float().mean((0, 1))
    assert (mean - 31.5).abs().max() < 3
    torch.manual_seed(0)
    assert (corners(policies['RandomPatchPolicy']) == first).all()


def test_they_are_not_the_learned_one(policies):
    learned = corners(policies['PatchPolicy'])
    assert learned.unique().numel() <= 3  # a grid of three places per axis
