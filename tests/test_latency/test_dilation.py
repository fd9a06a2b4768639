"""Dilated shares against torch, and curves."""

import numpy as np
import pytest
import torch

from dynnet.latency import BlockSpec, DilationCurve, make_masks, resnet_spec
from dynnet.latency.dilation import dilated_share
from dynnet.ops import dilate_mask, upsample_mask
from dynnet.utils.errors import ConfigError


@pytest.mark.parametrize('kind', ['blob', 'random'])
@pytest.mark.parametrize(
    ('cells', 'size', 'stride'), [(14, 14, 1), (3, 14, 2), (7, 28, 2)]
)
def test_dilated_share_is_that_of_the_kernels(kind, cells, size, stride):
    masks = make_masks(3, (cells, cells), 0.4, kind, seed=5)
    full = upsample_mask(torch.from_numpy(masks), (size, size))
    expected = dilate_mask(full, stride).float().mean()
    found = dilated_share(masks, (size, size), stride)
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_masks_have_the_share_and_blobs_hang_together():
    shares = {}
    for kind in ('blob', 'random'):
        masks = make_masks(8, (28, 28), 0.3, kind)
        assert {int(m.sum()) for m in masks} == {round(0.3 * 784)}
        shares[kind] = dilated_share(masks, (28, 28))
    assert shares['blob'] < shares['random'] - 0.1
    with pytest.raises(ConfigError, match='mask generator'):
        make_masks(1, (2, 2), 0.5, 'ring')


def test_curves_rise_and_coarse_patches_need_less():
    blocks = {s: resnet_spec(50, s).blocks[4] for s in (1, 2, 4)}
    for kind in ('blob', 'random'):
        curve = DilationCurve(kind)
        for block in blocks.values():
            values = [curve(block, r) for r in np.linspace(0, 1, 11)]
            assert values[0] == 0 and values[-1] == 1
            assert all(b >= a for a, b in zip(values, values[1:]))
        assert curve(blocks[4], 0.3) < curve(blocks[2], 0.3) < curve(blocks[1], 0.3)


def test_stored_curves_come_back_and_miss_by_name(tmp_path):
    blocks = resnet_spec(50).blocks
    curve = DilationCurve('random')
    curve.store(blocks)
    curve.save(tmp_path / 'c.json')
    again = DilationCurve.load(tmp_path / 'c.json')
    assert again(blocks[5], 0.4) == curve(blocks[5], 0.4)
    again.kind = None
    with pytest.raises(ConfigError, match='block x: the stored curves have none for'):
        again(BlockSpec('x', 0, 8, 8, 32, (9, 9), granularity=3), 0.5)
    (tmp_path / 'd.json').write_text('{"kind": "blob"}')
    with pytest.raises(ConfigError, match='d.json holds no dilation curves'):
        DilationCurve.load(tmp_path / 'd.json')


def test_curves_of_given_masks():
    block = BlockSpec('x', 0, 8, 8, 32, (14, 14), granularity=2)
    masks = [make_masks(4, (7, 7), r, 'blob', seed=i) for i, r in enumerate((0.2, 0.6))]
    curve = DilationCurve(None)
    curve.add_masks(masks, (14, 14))
    one = make_masks(4, (7, 7), 0.2, 'blob', seed=0)
    at = one[0].mean()
    assert one[0].mean() <= curve(block, at) <= 1
    assert curve(block, 0.0) == 0 and curve(block, 1.0) == 1
