"""The few-shot test, from config to metrics."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')

from mmengine.config import Config
from mmengine.runner import Runner

from dynnet.evaluation.few_shot import draw_episodes, episode_accuracies
from dynnet.utils.cli import set_collate_functions
from dynnet.utils.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    """Five base and four novel classes of coloured pictures."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 9
    colours = rng.integers(0, 200, (9, 3))
    images = colours[labels][:, None, None] + rng.integers(0, 56, (180, 16, 16, 3))
    np.savez(tmp_path / 'set.npz', x_test=images.astype(np.uint8), y_test=labels)
    return Config(
        dict(
            default_scope='mmpretrain',
            custom_imports=dict(imports=['dynnet']),
            work_dir=str(tmp_path / 'work'),
            experiment_name='few_shot',
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='dynnet.CIFARResNet', depth=20, base_channels=4),
                head=dict(
                    type='dynnet.CAMLinearClsHead', num_classes=5, in_channels=16
                ),
            ),
            data_preprocessor=dict(mean=[128.0] * 3, std=[64.0] * 3),
            test_dataloader=dict(
                batch_size=32,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(
                    type='dynnet.ClassSubset',
                    classes=[5, 6, 7, 8],
                    dataset=dict(
                        type='dynnet.NPZDataset',
                        data_root=str(tmp_path),
                        ann_file='set.npz',
                        split='test',
                        pipeline=[dict(type='PackInputs')],
                    ),
                ),
            ),
            test_evaluator=[],
            test_cfg=dict(
                type='dynnet.FewShotTestLoop',
                num_ways=4,
                num_shots=(1, 5),
                num_queries=10,
                num_episodes=40,
            ),
        )
    )


def run(cfg):
    torch.manual_seed(0)
    set_collate_functions(cfg)
    runner = Runner.from_cfg(cfg)
    return runner, runner.test()


def test_metrics_are_those_of_the_features(config):
    runner, metrics = run(config)
    names = [f'{c}_{k}shot' for k in (1, 5) for c in ('linear', 'cosine')]
    assert set(metrics) == {
        f'few_shot/{name}{end}' for name in names for end in ('', '_ci95')
    }
    assert all(25 < metrics[f'few_shot/{name}'] <= 100 for name in names)
    assert metrics['few_shot/linear_5shot'] >= metrics['few_shot/linear_1shot']
    # By hand, from what the backbone pools.
    model, dataset = runner.model.eval(), runner.test_dataloader.dataset
    inputs = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])
    with torch.no_grad():
        maps = model.backbone((inputs.float() - 128) / 64)[-1]
    support, query = draw_episodes(dataset.get_gt_labels(), 4, 5, 10, 40, seed=0)
    accuracies = episode_accuracies(maps.mean((2, 3)), support, query, 'cosine')
    assert metrics['few_shot/cosine_5shot'] == pytest.approx(
        100 * accuracies.mean(), abs=0.2
    )


def test_bad_settings_are_named(config):
    config.test_cfg.num_ways = 6
    with pytest.raises(ConfigError, match='need 6 classes, the data have 4'):
        run(config)


def test_unknown_classifier_is_named_before_anything_runs(config):
    config.test_cfg.classifiers = ['svm']
    config.experiment_name = 'few_shot_svm'
    with pytest.raises(ConfigError, match='svm.*choose from linear, cosine'):
        run(config)
