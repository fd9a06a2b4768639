"""The loop on a model whose logits are the data, and on a real small network."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn

from dynnet.engine.runner import EarlyExitTestLoop
from dynnet.models.exits import ExitThresholds, assign_exits, build_criterion
from dynnet.registry import DATASETS

NUM_EXITS, CLASSES = 3, 6
MACS = [10e6, 20e6, 40e6]


class Table(torch.utils.data.Dataset):
    """Pictures that are logits (E, C)."""

    def __init__(self, n=100, seed=0, scale=1.0):
        rng = np.random.default_rng(seed)
        self.target = rng.integers(CLASSES, size=n)
        lift = np.eye(CLASSES)[self.target][:, None] * np.arange(1, 4)[None, :, None]
        noise = rng.normal(size=(n, NUM_EXITS, CLASSES))
        self.logits = torch.tensor(scale * (noise + lift), dtype=torch.float32)
        self.metainfo = dict(classes=[str(c) for c in range(CLASSES)])

    def __len__(self):
        return len(self.target)

    def __getitem__(self, i):
        label = torch.tensor([self.target[i]])
        return dict(inputs=self.logits[i], data_samples=BaseDataElement(gt_label=label))


class TableModel(BaseModel):
    """A multi-exit classifier that reads its logits off its input."""

    num_exits = NUM_EXITS

    def __init__(self, mode='simulate', thresholds=None, criterion='MaxSoftmax'):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.mode, self.thresholds = mode, thresholds
        self.criterion = build_criterion(dict(type=criterion))
        self.exit_costs = None
        self.modes_seen, self.shapes_measured = [], []

    def set_thresholds(self, thresholds, budget=None):
        self.thresholds = thresholds

    def measure_costs(self, input_shape):
        self.shapes_measured.append(input_shape)
        self.exit_costs = list(MACS)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.modes_seen.append(self.mode)
        logits = torch.stack(list(inputs), dim=1)
        scores = self.criterion.score_all(logits)
        probs = logits.softmax(-1)
        for i, sample in enumerate(data_samples):
            exit_index = NUM_EXITS - 1
            if self.mode == 'execute':
                exit_index = int(assign_exits(scores, self.thresholds)[i])
                sample.cost = torch.tensor([self.exit_costs[exit_index]])
            elif self.mode == 'simulate':
                sample.exit_labels = probs[:, i].topk(5).indices
                sample.exit_confs = probs[:, i].amax(-1)
                sample.exit_scores = scores[:, i]
            sample.exit_index = torch.tensor([exit_index])
            sample.pred_label = logits[exit_index, i].argmax(0, keepdim=True)
        return data_samples


METRICS = [
    dict(type='dynnet.AnytimeAccuracy'),
    dict(type='dynnet.BudgetedBatchMetric'),
    dict(type='dynnet.CostMetric'),
]


def loader(dataset, batch_size=16):
    return dict(
        dataset=dataset,
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )


def build(tmp_path, model=None, test=None, calib=None, metrics=METRICS, **test_cfg):
    if calib is not None:
        test_cfg['calib_dataloader'] = loader(calib)
    runner = Runner(
        model=model or TableModel(),
        work_dir=str(tmp_path),
        test_dataloader=loader(test or Table(seed=2)),
        test_evaluator=metrics,
        test_cfg=dict(type='dynnet.EarlyExitTestLoop', **test_cfg),
        log_level='WARNING',
        experiment_name=f'{tmp_path.name}{id(test_cfg)}',
    )
    return runner


def table_of(dataset):
    logits = dataset.logits.transpose(0, 1)
    correct = logits.argmax(-1).numpy() == dataset.target
    return logits.softmax(-1).amax(-1).numpy(), correct


def test_simulate_calibrates_and_evaluates(tmp_path):
    path = tmp_path / 'thresholds.json'
    test, calib = Table(n=90, seed=2), Table(n=110, seed=1)
    runner = build(
        tmp_path, test=test, calib=calib, budgets=[2e7], save_thresholds=str(path)
    )
    metrics = runner.test()

    solved = ExitThresholds.load(path)
    assert solved.exit_costs == MACS and solved.criterion == dict(type='MaxSoftmax')
    assert solved.calibration == dict(num_samples=110, split='Table')
    assert len(solved.points) == 40
    point = solved.points[-1]
    assert point.budget == 2e7 and 1.9e7 < point.expected_cost <= 2e7

    scores, correct = table_of(test)
    exits = assign_exits(scores, point.thresholds)
    top1 = 100 * correct[exits, np.arange(90)].mean()
    assert metrics['budgeted/budget20000000_top1'] == pytest.approx(top1)
    cost = np.array(MACS)[exits].mean()
    assert metrics['budgeted/budget20000000_macs'] == pytest.approx(cost)
    assert metrics['anytime/exit1_top1'] == pytest.approx(100 * correct[0].mean())
    assert metrics['anytime/exit3_macs'] == MACS[2]
    assert not any(key.startswith('executed') for key in metrics)
    json.dumps(metrics)
    # The shape came from the data; the mode is what it was.
    assert runner.model.shapes_measured == [(NUM_EXITS, CLASSES)]
    assert len(runner.test_evaluator.metrics) == 3


def test_tables_are_printed(tmp_path):
    runner = build(tmp_path, calib=Table(seed=1))
    lines = []
    runner.logger.info = lines.append
    runner.test()
    text = '\n'.join(lines)
    assert 'Anytime accuracy (%) per exit\nexit' in text
    assert '\np10 ' in text and '40.00M' in text


def test_without_calibration_only_anytime(tmp_path):
    metrics = build(tmp_path).test()
    assert {key.split('/')[0] for key in metrics} == {'anytime'}


def test_execute_with_thresholds(tmp_path):
    test, thresholds = Table(seed=2), [0.7, 0.8]
    model = TableModel('execute', thresholds)
    metrics = build(tmp_path, model, test, calib=Table(seed=1)).test()
    scores, correct = table_of(test)
    exits = assign_exits(scores, thresholds)
    expected = 100 * correct[exits, np.arange(100)].mean()
    assert metrics['executed/top1'] == pytest.approx(expected)
    assert metrics['executed/mean_macs'] == pytest.approx(np.array(MACS)[exits].mean())
    assert metrics['executed/exit1_share'] == pytest.approx(100 * (exits == 0).mean())
    assert metrics['executed/ms_per_sample'] > 0
    assert set(model.modes_seen) == {'execute'}  # nothing to calibrate
    assert not any(key.startswith(('anytime', 'budgeted')) for key in metrics)


def test_execute_solves_one_budget(tmp_path):
    model, test = TableModel('execute'), Table(n=2000, seed=2)
    calib = Table(n=2000, seed=1)
    metrics = build(
        tmp_path, model, test, calib, budgets=0.5, relative_budgets=True
    ).test()
    assert set(model.modes_seen) == {'simulate', 'execute'}
    assert metrics['executed/mean_macs'] == pytest.approx(2e7, rel=0.05)
    scores, _ = table_of(calib)
    spent = np.array(MACS)[assign_exits(scores, model.thresholds)].mean()
    assert 2e7 - 3e7 / 2000 <= spent <= 2e7


@pytest.mark.parametrize('budgets', [None, [1.5e7, 2e7]])
def test_execute_without_thresholds(tmp_path, budgets):
    with pytest.raises(ValueError, match="'execute' needs thresholds: .*exactly one"):
        build(
            tmp_path, TableModel('execute'), calib=Table(seed=1), budgets=budgets
        ).test()


def test_fixed_exit_needs_no_calibration(tmp_path):
    model = TableModel('exit=2')
    metrics = build(tmp_path, model, calib=Table(seed=1)).test()
    assert set(model.modes_seen) == {'exit=2'}
    assert {key.split('/')[0] for key in metrics} == {'executed'}


def test_costs_in_milliseconds(tmp_path):
    path = tmp_path / 'thresholds.json'
    model = TableModel()
    metrics = build(
        tmp_path,
        model,
        calib=Table(seed=1),
        exit_costs=[1.0, 2.5, 4.0],
        cost_unit='ms',
        budgets=[2.0],
        save_thresholds=path,
    ).test()
    assert metrics['budgeted/budget2_ms'] < 4 and metrics['anytime/exit2_ms'] == 2.5
    assert ExitThresholds.load(path).cost_unit == 'ms'
    assert model.shapes_measured == []
    with pytest.raises(ValueError, match="cost_unit='ms' needs exit_costs"):
        build(tmp_path, cost_unit='ms').test()


def test_patience_is_swept(tmp_path):
    path = tmp_path / 'thresholds.json'
    model = TableModel(criterion='Patience')
    metrics = build(tmp_path, model, calib=Table(seed=1), save_thresholds=path).test()
    assert [p.name for p in ExitThresholds.load(path).points] == [
        'patience1',
        'patience2',
        'patience3',
    ]
    assert metrics['budgeted/patience1_macs'] == MACS[0]
    assert metrics['budgeted/patience3_macs'] == MACS[2]


@pytest.mark.parametrize(
    'budget, message', [(9e6, 'minimum 10000000,'), (5e7, 'maximum 40000000,')]
)
def test_budget_out_of_reach(tmp_path, budget, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, calib=Table(seed=1), budgets=[budget]).test()


def test_thresholds_survive_a_failing_test(tmp_path):
    class Broken(Table):
        def __getitem__(self, i):
            if i == 50:
                raise OSError('the disk is gone')
            return super().__getitem__(i)

    path = tmp_path / 'thresholds.json'
    runner = build(
        tmp_path, test=Broken(seed=2), calib=Table(seed=1), save_thresholds=path
    )
    with pytest.raises(OSError, match='the disk is gone'):
        runner.test()
    assert len(ExitThresholds.load(path).points) == 39


def test_bad_calibration(tmp_path):
    with pytest.raises(ValueError, match='gives no batch'):
        build(tmp_path, calib=Table(n=0)).test()
    broken = Table(seed=1)
    broken.logits[7] = float('nan')
    with pytest.raises(ValueError, match='3 NaN, the first at exit 1, sample 7'):
        build(tmp_path, calib=broken).test()
    for setting in (
        dict(save_thresholds='x.json'),
        dict(budgets=[2e7]),
        dict(solver=dict(type='BudgetSolver')),
    ):
        with pytest.raises(ValueError, match=f'{next(iter(setting))} needs thresholds'):
            build(tmp_path, **setting).test()


def test_a_metric_must_apply(tmp_path):
    model = TableModel('execute', [0.5, 0.5])
    with pytest.raises(ValueError, match="no metric for the mode 'execute'"):
        build(tmp_path, model, metrics=METRICS[:2]).test()


def test_a_plain_classifier_is_refused(tmp_path):
    class Plain(BaseModel):
        def forward(self, inputs, data_samples=None, mode='tensor'):
            raise NotImplementedError

    with pytest.raises(ValueError, match='needs a multi-exit model .* not Plain'):
        build(tmp_path, Plain()).test()


@DATASETS.register_module()
class LoopTestPictures(BaseDataset):
    """Pictures by path or, with ``in_memory``, by content."""

    def __init__(self, names, in_memory=False, **kwargs):
        self.names, self.in_memory = names, in_memory
        super().__init__(**kwargs)

    def load_data_list(self):
        if self.in_memory:
            return [dict(img=np.full((2, 2), name), gt_label=0) for name in self.names]
        return [dict(img_path=f'{name}.png', gt_label=0) for name in self.names]


@pytest.mark.parametrize('in_memory', [False, True])
def test_calibrating_on_test_pictures_is_refused(tmp_path, in_memory):
    def pictures(*names):
        return LoopTestPictures(list(names), in_memory)

    test, calib = pictures(1, 2, 3), pictures(3, 4)
    runner = build(tmp_path, test=test, calib=calib, input_shape=(3, 2, 2))
    with pytest.raises(ValueError, match='1 of the 2 calibration pictures .*test set'):
        runner.test()


def test_chance_duplicates_are_tolerated():
    from dynnet.engine.runner.calibration import check_disjoint

    test = LoopTestPictures(list(range(100)), in_memory=True)
    check_disjoint(LoopTestPictures([99, *range(100, 150)], in_memory=True), test)
    check_disjoint(Table(), Table())  # nothing to compare by
    paths = LoopTestPictures(list(range(100)))
    with pytest.raises(ValueError, match='such as 99.png'):
        check_disjoint(LoopTestPictures([99, *range(100, 150)]), paths)


def test_anytime_accuracy_in_a_validation_loop(tmp_path):
    runner = Runner(
        model=TableModel(),
        work_dir=str(tmp_path),
        val_dataloader=loader(Table(seed=2)),
        val_evaluator=dict(type='dynnet.AnytimeAccuracy'),
        val_cfg=dict(),
        log_level='WARNING',
        experiment_name=tmp_path.name,
    )
    metrics = runner.val()
    _, correct = table_of(Table(seed=2))
    assert metrics['anytime/last_top1'] == pytest.approx(100 * correct[2].mean())


def test_simulate_equals_execute_on_a_real_network(tmp_path):
    """A small MSDNet: what the budgeted table promises is what execution gives."""
    pytest.importorskip('mmpretrain')
    from mmpretrain.structures import DataSample

    from dynnet.registry import MODELS

    class Noise(torch.utils.data.Dataset):
        metainfo = {}

        def __init__(self, n, seed):
            generator = torch.Generator().manual_seed(seed)
            self.images = torch.randn(n, 3, 32, 32, generator=generator)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, i):
            sample = DataSample().set_gt_label(i % 10)
            return dict(inputs=self.images[i], data_samples=sample)

    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='MultiExitClassifier',
            backbone=dict(type='MSDNet', stem='cifar', num_blocks=3, base_channels=4),
            head=dict(
                type='MultiExitHead',
                num_classes=10,
                exit=dict(type='ConvExit', channels=8),
            ),
            data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor'),
        )
    )
    test, calib, path = Noise(24, 0), Noise(40, 1), tmp_path / 'thresholds.json'
    promised = build(
        tmp_path,
        model,
        test,
        calib,
        budgets=0.6,
        relative_budgets=True,
        save_thresholds=path,
    ).test()
    budget = ExitThresholds.load(path).points[-1].budget
    model.mode = 'execute'
    model.set_thresholds(str(path), budget=budget)
    executed = build(tmp_path, model, test).test()
    name = f'budgeted/budget{budget:.10g}'
    assert executed['executed/top1'] == pytest.approx(promised[f'{name}_top1'])
    assert executed['executed/mean_macs'] == pytest.approx(promised[f'{name}_macs'])
    assert promised['anytime/exit1_published_flops'] > 0


def test_loop_is_registered():
    from dynnet.registry import LOOPS

    assert LOOPS.get('EarlyExitTestLoop') is EarlyExitTestLoop


def run_rank(rank, folder):
    """One of two processes; this file is their script."""
    torch.set_num_threads(1)
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', store, rank=rank, world_size=2)
    metrics = build(
        folder / f'rank{rank}',
        test=Table(n=37, seed=2),
        calib=Table(n=41, seed=1),
        budgets=[2e7],
        save_thresholds=folder / 'two.json',
    ).test()
    (folder / f'rank{rank}.json').write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    """Odd numbers of samples, so that both samplers pad."""
    processes = [
        # mmengine gathers through a folder beside the process
        subprocess.Popen(
            [sys.executable, __file__, str(r), str(tmp_path)], cwd=tmp_path
        )
        for r in (0, 1)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    one = build(
        tmp_path / 'one',
        test=Table(n=37, seed=2),
        calib=Table(n=41, seed=1),
        budgets=[2e7],
        save_thresholds=tmp_path / 'one.json',
    ).test()
    for rank in (0, 1):
        assert json.loads((tmp_path / f'rank{rank}.json').read_text()) == one
    assert (tmp_path / 'two.json').read_text() == (tmp_path / 'one.json').read_text()


if __name__ == '__main__':
    run_rank(int(sys.argv[1]), Path(sys.argv[2]))
