"""Tools: gate thresholds for a budget; what a policy could gain."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from dynnet.models.policies.headroom import summarise_headroom, try_places
from dynnet.models.policies.rewards import confidence
from dynnet.ops.patches import action_grid, patch_corners
from dynnet.utils.cli import run_main
from dynnet.utils.errors import ConfigError

TOOLS = Path(__file__).parents[3] / 'tools/analysis_tools'


def load_tool(name: str):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gated(make_adafocus, small_config):
    """A net whose gates differ."""
    policy = dict(small_config()['policy'], with_gate=True)
    net = make_adafocus(policy=policy, test_cfg=dict(mode='execute'))
    torch.nn.init.normal_(net.policy.gate.weight, 0, 3)
    return net


@pytest.fixture
def loader(clips, samples):
    """Two batches of five clips."""
    parts = (slice(0, 3), slice(3, 5))
    return [dict(inputs=list(clips[p]), data_samples=samples[p]) for p in parts]


def test_thresholds_hold_their_budgets_when_executed(gated, loader, clips):
    tool = load_tool('solve_gate_threshold')
    probs = tool.collect(gated, loader)
    assert probs.shape == (5, 4) and len(probs.unique()) == 20
    assert tool.collect(gated, loader, 2).equal(probs[:2])
    shares = [0.7, 0.8, 0.9, 1.0]
    rows = tool.solve(gated, probs, shares, True)
    assert len({row['threshold'] for row in rows}) == 4
    for share, row in zip(shares, rows):
        assert row['budget'] == pytest.approx(share * gated.costs.total)
        gated.gate_threshold = json.loads(json.dumps(row['threshold']))
        with torch.inference_mode():
            costs = [float(s.cost) for s in gated.predict(clips)]
        mean = sum(costs) / len(costs)
        assert mean == pytest.approx(row['mean_macs']) and mean <= row['budget'] + 1
        # One frame more would not have fitted.
        assert share == 1.0 or mean + gated.costs.focus / 5 > row['budget']
    absolute = tool.solve(gated, probs, [rows[1]['budget']], False)
    assert absolute[0]['threshold'] == rows[1]['threshold']
    with pytest.raises(ConfigError, match='below .* the glances'):
        tool.solve(gated, probs, [1.0], False)


def write_config(path: Path, model: dict) -> str:
    """A config whose clips are of the set in test_runner.py."""
    loader = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='PatchToolClips'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    path.write_text(
        "default_scope = 'mmaction'\n"
        f'model = {model!r}\nval_dataloader = {loader!r}\n'
        f'train_dataloader = {loader!r}\n'
    )
    return str(path)


@pytest.fixture
def made_set():
    from mmengine.registry import DATASETS

    from .test_runner import Clips

    DATASETS.register_module('PatchToolClips', module=Clips, force=True)
    yield
    DATASETS.module_dict.pop('PatchToolClips')


@pytest.mark.usefixtures('made_set')
def test_the_command_lines(gated, small_config, tmp_path, capsys):
    policy = dict(small_config()['policy'], with_gate=True)
    config = write_config(tmp_path / 'gate.py', small_config(policy=policy))
    checkpoint = str(tmp_path / 'gate.pth')
    torch.save(dict(state_dict=gated.state_dict(), meta=dict()), checkpoint)
    out = str(tmp_path / 'gates.json')
    solve = load_tool('solve_gate_threshold')
    args = [config, checkpoint, '--budgets', '0.8', '--relative', '--out', out]
    (row,) = solve.main(args)
    assert json.loads(Path(out).read_text())['rows'] == [row]
    shown = capsys.readouterr().out
    assert repr(row['threshold']) in shown and 'solved on 12 clips (val)' in shown

    plain = write_config(tmp_path / 'plain.py', small_config())
    assert run_main(lambda: solve.main([plain, checkpoint, *args[2:]])) == 1
    del gated.policy.gate
    torch.save(dict(state_dict=gated.state_dict(), meta=dict()), checkpoint)
    with pytest.raises(ConfigError, match='plain.py: AdaFocus has no gate'):
        solve.main([plain, checkpoint, *args[2:]])
    headroom = load_tool('patch_headroom')
    args = [plain, checkpoint, '--places', '4', '--max-samples', '6', '--out', out]
    report = headroom.main(args)
    assert report == json.loads(Path(out).read_text())
    assert report['train'] == report['val'] and report['val']['clips'] == 6


def test_every_place_is_looked_at(make_adafocus, clips, labels):
    net = make_adafocus()
    torch.manual_seed(0)
    conf, right = try_places(net, clips, labels, 4)
    assert conf.shape == (4, 5, 4) and right.shape == (5, 4)
    torch.manual_seed(0)
    random = net.random_corners(clips)
    with torch.inference_mode():
        for a, place in enumerate(action_grid(4)):
            corner = patch_corners(place, 48, 32)
            same = net.run(clips, corners=corner.expand(5, 4, 2)).logits
            assert right[:, a].equal(same[:, -1].argmax(-1) == labels)
            for t in (0, 2):
                corners = random.clone()
                corners[:, t] = corner
                logits = net.run(clips, corners=corners).logits[:, t]
                expected = confidence(logits[None], labels)[0]
                torch.testing.assert_close(conf[t, :, a], expected)
    with pytest.raises(ConfigError, match='square number'):
        try_places(net, clips, labels, 5)
    with pytest.raises(ConfigError, match='Linear does not answer frame by frame'):
        try_places(torch.nn.Linear(1, 1), clips, labels)


def test_headroom_by_hand():
    # Two frames, one clip, two places: only in the first frame does the place matter.
    conf = torch.tensor([[[0.2, 0.6]], [[0.8, 0.8]]])
    found = summarise_headroom(conf, torch.tensor([[True, False]]))
    assert found.confidence == pytest.approx(0.6)
    assert found.place_sd == pytest.approx(0.02**0.5)  # variances .04 and 0
    assert found.place_share == pytest.approx(0.02 / 0.06)
    assert found.ceiling == pytest.approx(0.1)
    assert (found.right_mean, found.right_best) == (0.5, 1.0)
    same = summarise_headroom(torch.full((2, 1, 2), 0.5), torch.ones(1, 2).bool())
    assert same.place_share == 0 and same.ceiling == 0
