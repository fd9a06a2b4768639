"""The tools in tools/analysis_tools."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dynnet.utils.cli import run_main

pytest.importorskip('mmpretrain')

from dynnet.apis import init_model
from dynnet.apis.inference import read_config
from dynnet.models.exits import ExitThresholds, OperatingPoint, assign_exits
from dynnet.utils.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
SMALL = str(ROOT / 'configs/ranet/ranet-small_1xb64-60e_cifar10-npz.py')


def load_tool(name: str):
    path = ROOT / 'tools/analysis_tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- get_flops


def test_get_flops_prints_and_writes_the_published_numbers(tmp_path, capsys):
    tool = load_tool('get_flops')
    config = ROOT / 'configs/ranet/ranet-s123-even4_1xb64-300e_cifar10.py'
    tool.main([str(config), '--out', str(tmp_path / 'flops.json')])
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines() if line.strip()[:1].isdigit()]
    # spec: 13438730 and 61272316 FLOPs, 468106 and 2451158 parameters
    assert rows[0][0] == '1' and rows[0][3:] == ['13.439', '0.468']
    assert rows[5][0] == '6' and rows[5][2:] == ['100.0%', '61.272', '2.451']
    assert 'every module that ran was counted' in shown and '3 x 32 x 32' in shown
    written = json.loads((tmp_path / 'flops.json').read_text())
    assert written['published_flops'][::5] == [13438730, 61272316]
    assert written['params'][-1] == 2451158


def test_get_flops_lists_what_it_cannot_count(tmp_path, capsys):
    tool = load_tool('get_flops')
    config = tmp_path / 'group_norm.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        'model = dict(\n'
        "    type='dynnet.MultiExitClassifier',\n"
        "    backbone=dict(type='dynnet.StagedBackbone', backbone=dict(\n"
        "        type='ResNet_CIFAR', depth=18, base_channels=8, stem_channels=8,\n"
        "        norm_cfg=dict(type='GN', num_groups=2), out_indices=(0, 3))),\n"
        "    head=dict(type='dynnet.MultiExitHead', num_classes=4,\n"
        "              exit=dict(type='dynnet.LinearExit')))\n"
    )
    tool.main([str(config), '--shape', '3', '32', '32'])
    shown = capsys.readouterr().out
    assert 'not counted: ' in shown and 'GroupNorm' in shown


def test_get_flops_finds_the_size_or_asks_for_it():
    tool = load_tool('get_flops')
    for name, shape in (
        ('ranet/ranet-small_1xb64-2e_fashion-mnist.py', (1, 32, 32)),
        ('ranet/ranet-small_custom-folder.py', (3, 128, 128)),
        ('msdnet/msdnet-step4_8xb32-90e_in1k.py', (3, 224, 224)),
        ('msdnet/msdnet-nb5-lin_1xb64-300e_cifar100.py', (3, 32, 32)),
    ):
        assert tool.find_shape(read_config(ROOT / 'configs' / name)) == shape
    with pytest.raises(ConfigError, match='--shape C H W'):
        tool.find_shape(read_config(SMALL))


def test_get_flops_refuses_a_model_without_exits(tmp_path):
    tool = load_tool('get_flops')
    config = tmp_path / 'plain.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier', backbone=dict(type='LeNet5'))\n"
    )
    with pytest.raises(ConfigError, match='no multi-exit backbone'):
        tool.main([str(config), '--shape', '1', '32', '32'])
    with pytest.raises(ConfigError, match='missing.py does not exist'):
        tool.main([str(tmp_path / 'missing.py')])


# --- plot_budget_curve


def write_metrics(path: Path, shift: float = 0.0) -> str:
    metrics = {'anytime/exit1_top1': 80 + shift, 'anytime/exit1_macs': 1e6}
    metrics |= {'anytime/exit2_top1': 90 + shift, 'anytime/exit2_macs': 3e6}
    metrics |= {'budgeted/p20_top1': 88 + shift, 'budgeted/p20_macs': 2e6}
    path.write_text(json.dumps(metrics))
    return str(path)


def test_plot_budget_curve_over_seeds(tmp_path, capsys):
    tool = load_tool('plot_budget_curve')
    files = [write_metrics(tmp_path / f'{i}.json', i) for i in range(3)]
    out = tmp_path / 'curve.png'
    tool.main(['--run', 'A', *files[:2], '--run', 'B', files[2], '--out', str(out)])
    assert out.read_bytes().startswith(b'\x89PNG')
    assert 'from 3 tests' in capsys.readouterr().out


@pytest.mark.parametrize(
    'content, complaint',
    [
        (None, 'No such file'),
        ('not json', 'Expecting value'),
        ('[1, 2]', 'no metrics'),
        ('{"accuracy/top1": 3}', 'anytime/exit1_top1'),
    ],
)
def test_plot_budget_curve_names_a_bad_file(tmp_path, content, complaint):
    tool = load_tool('plot_budget_curve')
    path = tmp_path / 'metrics.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=complaint) as error:
        tool.main(['--run', 'A', str(path), '--out', str(tmp_path / 'x.png')])
    assert str(path) in str(error.value)
    with pytest.raises(DataError, match='no metrics file'):
        tool.main(['--run', 'A', '--out', str(tmp_path / 'x.png')])


# --- execute_budgets


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Made data, an untrained net's checkpoint, its logits and thresholds."""
    folder = tmp_path_factory.mktemp('execute')
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (150, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(150) % 10
    npz = folder / 'set.npz'
    np.savez(npz, x_test=pictures, y_test=labels, x_train=pictures, y_train=labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CIFAR10_NPZ', str(npz))
        cfg = read_config(SMALL)
    torch.manual_seed(0)
    model = init_model(cfg, device='cpu')
    for module in model.modules():  # an untrained net is sure of nothing: spread it
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=1.0)
    checkpoint = folder / 'net.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    batch = dict(inputs=torch.from_numpy(pictures).permute(0, 3, 1, 2))
    with torch.inference_mode():
        logits = model(model.data_preprocessor(batch)['inputs'])
    scores = model.criterion.score_all(logits)
    costs = model.measure_costs((3, 32, 32)).macs
    # between two confidences, so that no picture is a tie
    middle = [float(row.sort().values[[74, 75]].mean()) for row in scores[:-1]]
    never = [float('inf')] * 5
    points = [
        OperatingPoint(thresholds=middle, expected_cost=1.0, budget=5e6),
        OperatingPoint(thresholds=never, expected_cost=1.0, p=39),
    ]
    thresholds = ExitThresholds(dict(type='MaxSoftmax'), costs, points)
    thresholds.save(folder / 'thresholds.json')
    exits = assign_exits(scores, middle)
    predictions = logits[exits, torch.arange(150)].argmax(1)
    expected = dict(
        top1=100 * float((predictions.numpy() == labels).mean()),
        cost=float(np.array(costs)[exits.numpy()].mean()),
        shares=(np.bincount(exits, minlength=6) / 150).tolist(),
        last_top1=100 * float((logits[-1].argmax(1).numpy() == labels).mean()),
        full_cost=costs[-1],
    )
    return folder, expected


def run_execute(trained, *arguments: str) -> list[dict]:
    folder, _ = trained
    out = folder / 'executed.json'
    load_tool('execute_budgets').main(
        [
            *(SMALL, str(folder / 'net.pth'), str(folder / 'thresholds.json')),
            *('--out', str(out), *arguments, '--cfg-options'),
            f'test_dataloader.dataset.ann_file={folder / "set.npz"}',
            'test_dataloader.num_workers=0',
        ]
    )
    return json.loads(out.read_text())


def test_execute_budgets_gives_what_simulation_says(trained, tmp_path, capsys):
    expected = trained[1]
    gallery = tmp_path / 'gallery.png'
    rows = run_execute(trained, '--batch-size', '32', '--gallery', str(gallery))
    executed, full = rows
    assert executed['point'] == 'budget5000000' and executed['budget'] == 5e6
    assert executed['top1'] == pytest.approx(expected['top1'])
    assert executed['mean_cost'] == pytest.approx(expected['cost'])
    assert executed['exit_fractions'] == pytest.approx(expected['shares'])
    assert executed['same_as_simulated'] == executed['pictures'] == 150
    assert full['top1'] == pytest.approx(expected['last_top1'])
    assert full['mean_cost'] == expected['full_cost'] and full['time_ratio'] == 1
    assert 0 < executed['ms_per_picture'] and 0 < full['ms_per_picture']
    shown = capsys.readouterr().out
    assert 'agree (exit and class) in 150 of 150' in shown and 'full forward' in shown
    assert gallery.read_bytes().startswith(b'\x89PNG')


def test_execute_budgets_of_named_points(trained):
    rows = run_execute(trained, '--points', 'p39', 'budget5000000')
    assert [row['point'] for row in rows] == ['p39', 'budget5000000', 'full forward']
    assert rows[0]['exit_fractions'][-1] == 1  # nobody leaves early there
    assert rows[0]['top1'] == rows[-1]['top1']


def test_execute_budgets_refusals(trained, tmp_path):
    with pytest.raises(ConfigError, match='no operating point p7: there are budget'):
        run_execute(trained, '--points', 'p7')
    with pytest.raises(ConfigError, match='--gallery-point p39'):
        run_execute(
            trained, '--gallery', str(tmp_path / 'x.png'), '--gallery-point', 'p39'
        )
    solved = ExitThresholds.load(trained[0] / 'thresholds.json')
    solved.points = solved.points[1:]
    with pytest.raises(ConfigError, match='name points with --points'):
        load_tool('execute_budgets').choose_points(solved, None)


def test_errors_are_one_line(tmp_path, capsys):
    tool = load_tool('get_flops')
    assert run_main(lambda: tool.main([str(tmp_path / 'no.py')])) == 1
    assert capsys.readouterr().err.count('\n') == 1


# --- plot_sample_weights


def test_plot_sample_weights(tmp_path, capsys):
    tool = load_tool('plot_sample_weights')
    rng = np.random.default_rng(0)
    data = {f'x_{s}': rng.integers(0, 255, (60, 32, 32, 1), 'u1') for s in SPLITS}
    data |= {f'y_{s}': np.arange(60) % 10 for s in SPLITS}
    np.savez(tmp_path / 'set.npz', **data)
    base = ROOT / 'configs/l2w/msdnet-small3_l2w_1xb128-3e_cifar10-npz.py'
    cfg = read_config(base)
    cfg.data_preprocessor = dict(num_classes=10, mean=[127], std=[60])
    cfg.model.backbone.in_channels = 1
    loader = cfg.val_dataloader
    loader.update(num_workers=0, batch_size=25)
    loader.dataset.size = 50
    loader.dataset.dataset.ann_file = str(tmp_path / 'set.npz')
    cfg.dump(str(tmp_path / 'config.py'))
    model = init_model(cfg)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'net.pth')
    tool.main(
        [
            str(tmp_path / 'config.py'),
            str(tmp_path / 'net.pth'),
            *('--out', str(tmp_path / 'w.png'), '--json', str(tmp_path / 'w.json')),
            *('--max-samples', '40'),
        ]
    )
    assert 'drawn from 40 pictures (val)' in capsys.readouterr().out
    written = json.loads((tmp_path / 'w.json').read_text())
    table = np.array(written['weights'])
    assert table.shape == (4, 3)
    assert np.allclose(table.mean(1), 1)  # centred over the exits
    assert (tmp_path / 'w.png').stat().st_size > 1000
    plain = ROOT / 'configs/l2w/msdnet-small3_plain_1xb64-3e_cifar10-npz.py'
    cfg = read_config(plain)
    torch.save(dict(state_dict=init_model(cfg).state_dict()), tmp_path / 'p.pth')
    with pytest.raises(ConfigError, match='MultiExitClassifier, not an L2WClassifier'):
        tool.main([str(plain), str(tmp_path / 'p.pth'), '--out', 'x.png'])


SPLITS = ('train', 'test')
