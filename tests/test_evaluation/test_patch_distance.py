import numpy as np
import pytest
import torch

from dynnet.evaluation import PatchDistance
from dynnet.evaluation.metrics.patch_distance import random_patch_distance
from dynnet.utils.errors import ConfigError, DataError


def evaluate(samples, **kwargs):
    metric = PatchDistance(**dict(dict(frame_size=96, patch_size=32), **kwargs))
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_distance_and_cover_by_hand():
    centres = torch.tensor([[20.0, 20.0], [50.0, 60.0]])
    exact = dict(corners=torch.tensor([[4, 4], [34, 44]]), cue_centres=centres)
    found = evaluate([exact])
    assert found['patch/distance'] == 0 and found['patch/covered'] == 100
    # Off by (3, 4) in one frame; by (0, 20), outside, in the other.
    other = dict(corners=torch.tensor([[7, 8], [34, 64]]), cue_centres=centres)
    found = evaluate([exact, other, dict(broken=True)])
    assert found['patch/distance'] == pytest.approx((0 + (5 + 20) / 2) / 2)
    assert found['patch/covered'] == pytest.approx(75)


def test_clips_that_left_early_have_fewer_patches():
    sample = dict(
        corners=torch.tensor([[4, 4]]), cue_centres=np.array([[20.0, 23.0], [0.0, 0.0]])
    )
    assert evaluate([sample])['patch/distance'] == pytest.approx(3)


def test_chance_is_what_random_patches_have():
    rng = np.random.default_rng(0)
    centres = rng.uniform(10, 86, (5, 2))
    corners = rng.integers(0, 64, (200_000, 2))
    for centre, expected in zip(centres, random_patch_distance(centres, 96, 32)):
        drawn = np.hypot(*(corners + 16 - centre).T).mean()
        assert drawn == pytest.approx(expected, rel=5e-3)
    centre = np.array([[12.0, 16.0]])
    assert random_patch_distance(centre, 32, 32) == pytest.approx(4)


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match="needs the field 'cue_centres'"):
        evaluate([dict(corners=torch.zeros(1, 2))])
    with pytest.raises(DataError, match='no clip that could be read'):
        evaluate([dict(broken=True)])
