"""Test early-exit networks: calibrate, solve thresholds, evaluate."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import DataLoader

from dynnet.evaluation import CalibrationTable
from dynnet.evaluation.functional import format_table
from dynnet.models.exits import ExitThresholds, build_solver
from dynnet.models.exits.thresholds import check_costs
from dynnet.registry import LOOPS
from dynnet.utils.errors import ConfigError, DataError

from .calibration import check_disjoint, describe


@LOOPS.register_module()
class EarlyExitTestLoop(TestLoop):
    """Evaluate an early-exit network under compute budgets.

    1. Runs the calibration loader with the model in mode ``simulate``, solves the
       thresholds and writes them to ``save_thresholds``.
    2. Tests in the model's mode. ``simulate``: accuracy of every exit
       (``AnytimeAccuracy``) and, with calibration, of every operating point
       (``BudgetedBatchMetric``). ``execute``: accuracy, cost and time of samples that
       really leave (``CostMetric``), by the model's thresholds or, where it has none,
       by those solved for the single entry of ``budgets``. Metrics that do not apply
       to the mode are left out.

    The metrics' attributes ``exit_costs``, ``cost_unit``, ``published_flops`` and
    ``calibration`` are filled in here. Besides the metrics' own, execute mode reports
    ``executed/ms_per_sample``: wall time in the model (preprocessing included, loading
    not) of this process, without the first batch where there are several.

    Args:
        runner: The runner.
        dataloader: Test loader or its config.
        evaluator: Evaluator or its config.
        calib_dataloader: Loader that thresholds are solved on, or its config: samples
            held out of the training set, with the test transform. (The published
            scripts calibrate through the training augmentation; give this loader the
            training transform for that.) None: no calibration, anytime accuracy only.
        solver: Config of the budget solver, or a list of them whose points are joined;
            None for the published p-grid.
        budgets: Mean costs per sample to solve for besides, in ``cost_unit``.
        relative_budgets: Whether ``budgets`` are fractions of the last exit's cost.
        input_shape: (C, H, W) that MACs are counted at; None takes the first test
            sample's.
        exit_costs: Cumulative cost per exit, e.g. measured milliseconds; None counts
            the model's MACs.
        cost_unit: Unit of ``exit_costs``.
        save_thresholds: Path of the JSON file for the solved thresholds.
        fp16: Whether to run the model under autocast.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Any,
        calib_dataloader: DataLoader | dict | None = None,
        solver: dict | Sequence[dict] | None = None,
        budgets: Sequence[float] | float | None = None,
        relative_budgets: bool = False,
        input_shape: Sequence[int] | None = None,
        exit_costs: Sequence[float] | None = None,
        cost_unit: str = 'MACs',
        save_thresholds: str | os.PathLike | None = None,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        if calib_dataloader is None:
            for name, value in (
                ('save_thresholds', save_thresholds),
                ('budgets', budgets),
                ('solver', solver),
            ):
                if value is not None:
                    raise ConfigError(
                        f'test_cfg.{name} needs thresholds to be solved: set '
                        'test_cfg.calib_dataloader'
                    )
        self.calib_dataloader = self._build_calib_dataloader(calib_dataloader)
        solver = dict(type='BudgetSolver') if solver is None else solver
        solvers = [solver] if isinstance(solver, dict) else list(solver)
        self.solvers = [build_solver(cfg) for cfg in solvers]
        self.budget_solver = None
        if budgets is not None:
            self.budget_solver = build_solver(
                dict(
                    type='BudgetSolver',
                    strategy='budget',
                    budgets=budgets,
                    relative=relative_budgets,
                )
            )
        self.input_shape = input_shape
        self.given_costs = exit_costs
        self.cost_unit = cost_unit
        self.save_thresholds = save_thresholds
        self.calibration: ExitThresholds | None = None
        self._batch_times: list[tuple[float, int]] = []

    @property
    def model(self) -> nn.Module:
        """The model itself, without a data-parallel wrapper."""
        model = self.runner.model
        return model.module if is_model_wrapper(model) else model

    def run(self) -> dict[str, float]:
        """Calibrate and test.

        Returns:
            The metrics.
        """
        mode = self._check_model()
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        costs = self._measure_costs()
        if self._needs_calibration(mode):
            self.calibration = self.calibrate(costs)
        if mode == 'execute':
            self._set_thresholds()

        self._batch_times.clear()
        with self._metrics_of(mode, costs) as metrics:
            for idx, data_batch in enumerate(self.dataloader):
                self.run_iter(idx, data_batch)
            results = self.evaluator.evaluate(len(self.dataloader.dataset))
            if mode == 'execute':
                results['executed/ms_per_sample'] = self._ms_per_sample()
            self._print_tables(metrics)
        self.runner.call_hook('after_test_epoch', metrics=results)
        self.runner.call_hook('after_test')
        return results

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Test one batch and take its time.

        Args:
            idx: Index of the batch.
            data_batch: What the loader gave.
        """
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        start = _now()
        with autocast(enabled=self.fp16):
            outputs = self.runner.model.test_step(data_batch)
        self._batch_times.append((_now() - start, len(outputs)))
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )

    @torch.no_grad()
    def calibrate(self, costs: Sequence[float]) -> ExitThresholds:
        """Solve the thresholds on the calibration loader and write them.

        Args:
            costs: Cumulative cost per exit.

        Returns:
            The operating points.

        Raises:
            DataError: The loader is empty.
            ConfigError: It holds test pictures.
            ValueError: A budget is out of reach, or the model gives NaN.
        """
        loader, model = self.calib_dataloader, self.model
        if len(loader.dataset) == 0 or len(loader) == 0:
            raise DataError(
                f'the calibration loader gives no batch ({len(loader.dataset)} samples)'
            )
        check_disjoint(loader.dataset, self.dataloader.dataset)
        self.runner.logger.info(
            f'Solving thresholds on {len(loader.dataset)} calibration samples'
        )
        table = CalibrationTable()
        mode, model.mode = model.mode, 'simulate'
        bar = ProgressBar(len(loader)) if is_main_process() else None
        try:
            for data_batch in loader:
                with autocast(enabled=self.fp16):
                    outputs = self.runner.model.test_step(data_batch)
                table.process(data_batch, [sample.to_dict() for sample in outputs])
                if bar is not None:
                    bar.update()
        finally:
            model.mode = mode
            if bar is not None:
                bar.file.write('\n')
        arrays = table.evaluate(len(loader.dataset))
        scores, correct = arrays['calibration/scores'], arrays['calibration/correct']
        extra = [] if self.budget_solver is None else [self.budget_solver]
        points = [
            point
            for solver in [*self.solvers, *extra]
            for point in solver.solve(scores, costs, correct, model.criterion.solvable)
        ]
        calibration = ExitThresholds(
            criterion=model.criterion.config,
            exit_costs=[float(cost) for cost in costs],
            points=points,
            cost_unit=self.cost_unit,
            calibration=dict(
                num_samples=scores.shape[1], split=describe(loader.dataset)
            ),
        )
        if self.save_thresholds is not None and is_main_process():
            calibration.save(self.save_thresholds)
            self.runner.logger.info(f'Thresholds written to {self.save_thresholds}')
        return calibration

    def _build_calib_dataloader(
        self, loader: DataLoader | dict | None
    ) -> DataLoader | None:
        if not isinstance(loader, dict):
            return loader
        built = self.runner.build_dataloader(loader, seed=self.runner.seed)
        if 'collate_fn' not in loader:
            built.collate_fn = self.dataloader.collate_fn
        return built

    def _check_model(self) -> str:
        model = self.model
        if not hasattr(model, 'set_thresholds'):
            raise ConfigError(
                'EarlyExitTestLoop needs a multi-exit model such as '
                f'dynnet.MultiExitClassifier, not {type(model).__name__}'
            )
        return model.mode

    def _needs_calibration(self, mode: str) -> bool:
        if self.calib_dataloader is None or mode.startswith('exit'):
            return False
        return (
            mode == 'simulate'
            or self.model.thresholds is None
            or self.save_thresholds is not None
        )

    def _measure_costs(self) -> list[float]:
        model = self.model
        if self.given_costs is not None:
            return check_costs(self.given_costs, model.num_exits).tolist()
        if self.cost_unit != 'MACs':
            raise ConfigError(
                f'cost_unit={self.cost_unit!r} needs exit_costs, one per exit; only '
                'MACs are counted'
            )
        if model.exit_costs is None:
            shape = self.input_shape or self._first_input_shape()
            model.measure_costs(tuple(shape))
        uncounted = getattr(getattr(model, 'costs', None), 'uncounted', ())
        if uncounted:
            self.runner.logger.warning(
                f'The MACs leave out what cannot be counted: {", ".join(uncounted)}'
            )
        return list(model.exit_costs)

    def _first_input_shape(self) -> tuple[int, ...]:
        batch = self.dataloader.collate_fn([self.dataloader.dataset[0]])
        inputs = self.model.data_preprocessor(batch, False)['inputs']
        return tuple(inputs[0].shape)  # of a batch or of a list

    def _set_thresholds(self) -> None:
        """Give the model thresholds if it has none."""
        if self.model.thresholds is not None:
            return
        points = self.calibration.points if self.calibration else []
        chosen = [point for point in points if point.budget is not None]
        if len(points) == 1:
            chosen = points
        if len(chosen) != 1:
            raise ConfigError(
                "mode 'execute' needs thresholds: set model.test_cfg.thresholds, load "
                'a checkpoint with embedded ones, or set test_cfg.calib_dataloader and '
                f'exactly one entry of test_cfg.budgets (there are {len(chosen)})'
            )
        self.model.set_thresholds(chosen[0].thresholds)
        self.runner.logger.info(f'Executing operating point {chosen[0].name}')

    @contextmanager
    def _metrics_of(self, mode: str, costs: list[float]) -> Iterator[list[BaseMetric]]:
        """The metrics that apply to the mode, with costs and calibration filled in."""
        kind, everything = mode.partition('=')[0], self.evaluator.metrics
        metrics = []
        for metric in everything:
            applies = kind in getattr(metric, 'modes', (kind,))
            if applies and hasattr(metric, 'calibration'):
                if self.calibration is not None:
                    metric.calibration = self.calibration
                applies = metric.calibration is not None
            if not applies:
                name = type(metric).__name__
                self.runner.logger.info(f'{name} does not apply here: left out')
                continue
            if hasattr(metric, 'exit_costs'):
                metric.exit_costs, metric.cost_unit = costs, self.cost_unit
            if hasattr(metric, 'published_flops'):
                counted = getattr(self.model, 'costs', None)
                metric.published_flops = getattr(counted, 'published_flops', None)
            metrics.append(metric)
        if not metrics:
            raise ConfigError(f'test_evaluator has no metric for the mode {mode!r}')
        self.evaluator.metrics = metrics
        try:
            yield metrics
        finally:
            self.evaluator.metrics = everything

    def _ms_per_sample(self) -> float:
        times = self._batch_times
        if len(times) > 1:  # the first batch warms up
            times = times[1:]
        seconds, samples = (sum(column) for column in zip(*times, strict=True))
        return 1000 * seconds / samples

    def _print_tables(self, metrics: list[BaseMetric]) -> None:
        if not is_main_process():
            return
        for metric in metrics:
            if hasattr(metric, 'table'):
                title, header, rows = metric.table()
                table = format_table(header, rows)
                self.runner.logger.info(f'{title}\n{table}')


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
