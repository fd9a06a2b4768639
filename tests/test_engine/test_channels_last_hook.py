import torch
from torch import nn

from dynnet.engine.hooks import ChannelsLastHook
from dynnet.engine.hooks.channels_last_hook import to_channels_last


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def test_training_is_the_same_in_the_other_layout(tiny_runner, tmp_path):
    layouts = []

    def note(module, inputs, output):
        last = output.is_contiguous(memory_format=torch.channels_last)
        layouts.append(last and not output.is_contiguous())

    plain = tiny_runner(tmp_path / 'plain')
    plain.train()
    runner = tiny_runner(tmp_path / 'last')
    runner.register_hook(ChannelsLastHook())
    convs = [m for m in runner.model.modules() if isinstance(m, nn.Conv2d)]
    convs[1].register_forward_hook(note)  # one channel, or one position, is both
    runner.train()
    assert layouts and all(layouts)
    ours, theirs = (weights(tmp_path / f'{d}/epoch_3.pth') for d in ('last', 'plain'))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-4)
    # A run with the other layout resumes from it.
    tiny_runner(tmp_path / 'last', resume=True).train()


def test_only_2d_kernels_change():
    model = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Linear(3, 4)])
    before = {name: p.clone() for name, p in model.named_parameters()}
    strides = [p.stride() for p in model[1:].parameters()]
    to_channels_last(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert [p.stride() for p in model[1:].parameters()] == strides
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
