"""Angles and gates of a picture."""

import pytest
import torch
from torch import nn

from dynnet.models.layers import AdaptiveRotatedConv2d
from dynnet.utils.errors import ConfigError
from dynnet.visualization.rotation_figure import draw_decisions, record_decisions


def test_records_what_the_layers_decide(tmp_path):
    torch.manual_seed(0)
    conv = AdaptiveRotatedConv2d(3, 4, 3, padding=1, kernel_number=2)
    model = nn.Sequential(conv, AdaptiveRotatedConv2d(4, 4, 3, kernel_number=3)).eval()
    x = torch.randn(1, 3, 8, 8)
    found = record_decisions(model, x)
    assert found.layers == ['0', '1']
    assert [len(v) for v in found.gates] == [2, 3]
    gates, angles = conv.routing(x)
    assert found.gates[0] == pytest.approx(gates[0].detach().numpy())
    assert found.angles[0] == pytest.approx(angles[0].rad2deg().detach().numpy())
    assert not conv.routing._forward_hooks
    path = tmp_path / 'rotations.png'
    draw_decisions({0: found, 90: record_decisions(model, x.rot90(1, (2, 3)))}, path)
    assert path.stat().st_size > 1000


def test_refuses_a_model_without():
    with pytest.raises(ConfigError, match='no adaptive rotated'):
        record_decisions(nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 4, 4))
