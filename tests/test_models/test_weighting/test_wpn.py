import pytest
import torch

from dynnet.models.weighting import WeightPredictionNetwork, centre_weights


@pytest.mark.parametrize(
    ('centre', 'axes'), [('row', (0,)), ('col', (1,)), ('mat', (0, 1))]
)
def test_weights_are_centred(centre, axes):
    u = torch.rand(7, 3, dtype=torch.float64) * 2 - 1
    w = centre_weights(u, 0.8, centre)
    mean = w.mean(axes)
    assert torch.allclose(mean, torch.ones_like(mean))
    # differences within what is centred are those of u, times delta
    if centre == 'row':
        assert torch.allclose(w[1] - w[0], 0.8 * (u[1] - u[0]))
    if centre == 'col':
        assert torch.allclose(w[:, 1] - w[:, 0], 0.8 * (u[:, 1] - u[:, 0]))
    assert ((w > -0.6) & (w < 2.6)).all()


def test_weights_may_be_negative_and_delta_zero_gives_ones():
    u = torch.tensor([[-1.0, 1.0, 1.0]])
    assert centre_weights(u, 0.8, 'col').min() < 0
    assert torch.equal(centre_weights(u, 0.0, 'col'), torch.ones(1, 3))


@pytest.mark.parametrize(
    ('kind', 'columns'), [('loss', [0, 1]), ('conf', [2, 3]), ('both', [0, 1, 2, 3])]
)
def test_input_is_what_was_chosen_and_cut_off(kind, columns):
    net = WeightPredictionNetwork(2, hidden_size=5, input_type=kind)
    table = torch.rand(6, 4, requires_grad=True)
    x = net.make_input(table[:, :2], table[:, 2:])
    assert torch.equal(x, table[:, columns]) and not x.requires_grad
    assert net(x).shape == (6, 2)


def test_depth_and_activation():
    net = WeightPredictionNetwork(3, hidden_size=4, num_layers=3)
    shapes = [tuple(p.shape) for p in net.parameters()]
    assert shapes == [(4, 3), (4,), (4, 4), (4,), (4, 4), (4,), (3, 4), (3,)]
    x = 100 * torch.randn(50, 3)
    assert net(x).min() < 0 < net(x).max() and net(x).abs().max() <= 1
    sigmoid = WeightPredictionNetwork(3, hidden_size=4, activation='sigmoid')
    assert sigmoid(x).min() >= 0


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(input_type='entropy'), "wpn.input_type='entropy': choose one of"),
        (dict(activation='relu'), "wpn.activation='relu'"),
        (dict(centre='all'), "wpn.centre='all'"),
        (dict(hidden_size=0), 'wpn.hidden_size=0: must be at least 1'),
        (dict(num_layers=0), 'wpn.num_layers=0'),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        WeightPredictionNetwork(3, **settings)


def test_unknown_centre_is_refused():
    with pytest.raises(ValueError, match="centre='exit'"):
        centre_weights(torch.zeros(2, 2), 1.0, 'exit')
