"""mmcv's masked convolution: its limits, our use of it, and a run on a GPU."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from dynnet.ops.sparse_conv import (
    BackendUnavailableError,
    Problem,
    fold_block,
    mmcv_masked,
    sparse_block,
    unavailable,
)


def masked_conv2d(features, mask, weight, bias, padding):
    """What mmcv documents: one image, a mask of its size, zeros where it is 0."""
    assert len(features) == 1 and mask.shape == (1, *features.shape[2:])
    assert features.is_contiguous() and weight.is_contiguous()
    return F.conv2d(features, weight, bias, 1, padding) * (mask > 0)


@pytest.mark.parametrize('kind', ['plain', 'project', 'basic'])
def test_its_use_gives_the_masked_dense_form(blocks, reference, kind, monkeypatch):
    fake = SimpleNamespace(masked_conv2d=masked_conv2d)
    monkeypatch.setitem(sys.modules, 'mmcv.ops', SimpleNamespace(masked_conv=fake))
    monkeypatch.setitem(sys.modules, 'mmcv.ops.masked_conv', fake)
    folded = fold_block(blocks[kind])
    x, mask = torch.randn(1, folded.in_channels, 7, 6), torch.rand(1, 3, 3) < 0.5
    with torch.no_grad():
        out = mmcv_masked.run(Problem(x, mask, folded))
        expected = reference(blocks[kind], x, mask)
    assert torch.allclose(out, expected, atol=1e-5)


def test_its_limits_are_named(blocks, monkeypatch):
    x = SimpleNamespace(device=torch.device('cuda:0'))

    def ask(kind, batch=1, grad=False):
        return mmcv_masked.unavailable(
            SimpleNamespace(
                x=x, batch=batch, block=fold_block(blocks[kind]), wants_grad=grad
            )
        )

    monkeypatch.setattr(mmcv_masked, 'is_available', lambda name: True)
    assert ask('plain') is None and ask('project') is None
    assert 'takes one image, not 2' in ask('plain', 2)
    assert 'no stride' in ask('stride') and 'no stride' in ask('dilated')
    assert 'no gradient' in ask('plain', grad=True)
    x.device = torch.device('cpu')
    assert 'runs on CUDA, not on cpu' in ask('plain')
    monkeypatch.setattr(mmcv_masked, 'is_available', lambda name: False)
    assert 'not installed' in mmcv_masked.unavailable()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
@pytest.mark.parametrize('backend', ['torch', 'mmcv', 'auto', 'dense'])
def test_on_a_gpu(blocks, reference, kind, backend):
    block = copy.deepcopy(blocks[kind]).cuda()
    folded = fold_block(block)
    x = torch.randn(1, folded.in_channels, 12, 9, device='cuda')
    for density in (0.0, 0.4, 1.0):
        mask = torch.rand(1, *folded.out_size((12, 9)), device='cuda') < density
        with torch.no_grad():
            if backend == 'mmcv' and unavailable('mmcv', Problem(x, mask, folded)):
                with pytest.raises(BackendUnavailableError):
                    sparse_block(x, mask, folded, backend)
                continue
            out = sparse_block(x, mask, folded, backend)
            assert torch.allclose(out, reference(block, x, mask), atol=1e-3, rtol=1e-3)
