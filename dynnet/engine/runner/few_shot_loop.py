"""Test a frozen backbone on classes that it has not seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_distributed
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner, TestLoop
from mmengine.runner.amp import autocast
from torch import Tensor
from torch.utils.data import DataLoader

from dynnet.evaluation.few_shot import (
    CLASSIFIERS,
    draw_episodes,
    episode_accuracies,
    mean_and_interval,
)
from dynnet.evaluation.functional import format_table
from dynnet.registry import LOOPS
from dynnet.utils.errors import ConfigError


@LOOPS.register_module()
class FewShotTestLoop(TestLoop):
    """N-way K-shot evaluation with a frozen backbone.

    The test loader holds pictures of novel classes. Their features, those in front of
    the classifier, are computed once; then every episode fits a new classifier to K
    pictures of N classes and is tested on other pictures of them (Baseline-style
    evaluation). The same episodes are drawn whatever the backbone, so that two
    checkpoints compare episode by episode.

    Args:
        runner: The runner.
        dataloader: Test loader or its config.
        evaluator: Not used: there are no metrics of the old classes (``[]``).
        num_ways: Classes per episode N.
        num_shots: Labelled pictures per class K, one value or several.
        num_queries: Pictures per class that are tested on.
        num_episodes: Number of episodes, at least 600 for a narrow interval.
        classifiers: ``'linear'``, ``'cosine'`` or both.
        seed: Seed of the episodes; it has nothing to do with the seed of the run.
        fp16: Whether to run the backbone under autocast.

    Raises:
        ConfigError: An unknown classifier, or the data have too few classes or pictures
            for the episodes.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Any = (),
        num_ways: int = 5,
        num_shots: int | Sequence[int] = (1, 5),
        num_queries: int = 15,
        num_episodes: int = 600,
        classifiers: str | Sequence[str] = CLASSIFIERS,
        seed: int = 0,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator or [], fp16)
        self.num_ways = num_ways
        self.num_shots = [num_shots] if isinstance(num_shots, int) else list(num_shots)
        self.num_queries = num_queries
        self.num_episodes = num_episodes
        one = isinstance(classifiers, str)
        self.classifiers = [classifiers] if one else list(classifiers)
        unknown = set(self.classifiers) - set(CLASSIFIERS)
        if unknown:
            raise ConfigError(
                f'test_cfg.classifiers={sorted(unknown)}: choose from '
                f'{", ".join(CLASSIFIERS)}'
            )
        self.seed = seed

    def run(self) -> dict[str, float]:
        """Compute the features, then test all episodes.

        Returns:
            ``few_shot/{classifier}_{K}shot``, the mean accuracy in %, and the same with
            ``_ci95``, half the width of its 95 % interval over the episodes.
        """
        if is_distributed():
            raise ConfigError('the few-shot test runs in one process: --launcher none')
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        self.runner.model.eval()
        features, labels = self.extract()
        results, rows = {}, []
        for shots in self.num_shots:
            support, query = draw_episodes(
                labels,
                self.num_ways,
                shots,
                self.num_queries,
                self.num_episodes,
                self.seed,
            )
            for name in self.classifiers:
                accuracies = episode_accuracies(features, support, query, name)
                mean, half = mean_and_interval(100 * accuracies)
                results[f'few_shot/{name}_{shots}shot'] = mean
                results[f'few_shot/{name}_{shots}shot_ci95'] = half
                rows.append([name, str(shots), f'{mean:.2f}', f'{half:.2f}'])
        title = f'{self.num_ways}-way accuracy (%), {self.num_episodes} episodes'
        table = format_table(['classifier', 'shots', 'mean', '+-'], rows)
        self.runner.logger.info(f'{title}\n{table}')
        self.runner.call_hook('after_test_epoch', metrics=results)
        self.runner.call_hook('after_test')
        return results

    @torch.no_grad()
    def extract(self) -> tuple[Tensor, np.ndarray]:
        """Compute what the backbone sees in all test pictures.

        Returns:
            Features (M, D) float32 on the CPU, and classes (M,).
        """
        model = self.runner.model
        model = model.module if is_model_wrapper(model) else model
        if not hasattr(model, 'extract_feat'):
            raise ConfigError(f'{type(model).__name__} has no extract_feat')
        features, labels = [], []
        for batch in self.dataloader:
            batch = model.data_preprocessor(batch, False)
            with autocast(enabled=self.fp16):
                feats = model.extract_feat(batch['inputs'], stage='pre_logits')
            features.append(feats.float().flatten(1).cpu())
            labels += [int(sample.gt_label) for sample in batch['data_samples']]
        return torch.cat(features), np.array(labels)
