"""Several updates of a policy per batch."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

import dynnet  # noqa: F401
from dynnet.models.policies import PatchPolicy
from dynnet.models.policies.ppo import ppo_loss
from dynnet.models.policies.rollout import Rollout
from dynnet.utils.errors import ConfigError


class Bandit(BaseModel):
    """Learns by a reward of a place; counts how often it acts and is updated."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = PatchPolicy(4, 2, 2, 8, num_actions=4)
        self.acted, self.ratios = 0, []

    def act(self, inputs, data_samples=None):
        self.acted += 1
        states = torch.stack(inputs)[None]
        output = self.policy(states)
        actions = self.policy.sample(output)
        log_probs = self.policy.log_probs(output, actions).detach()
        rewards = (actions == 2).float()
        return Rollout(states, actions, log_probs, rewards, None, None, output=output)

    def policy_losses(self, rollout):
        output, rollout.output = rollout.output, None
        output = self.policy(rollout.states) if output is None else output
        terms = ppo_loss(
            rollout.rewards,
            self.policy.log_probs(output, rollout.actions),
            rollout.log_probs,
            output.values,
            self.policy.entropy(output),
        )
        self.ratios.append(terms.ratio.detach())
        return dict(loss_policy=terms.loss_policy, loss_value=terms.loss_value)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.policy_losses(self.act(inputs, data_samples))


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, i):
        return dict(inputs=torch.randn(4, 2, 2))


def run(tmp_path, model, loop, epochs=1):
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=8,
            dataset=Data(),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(max_epochs=epochs, **loop),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
        default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook')),
        experiment_name=f'ppo{id(model)}',
        default_scope='mmengine',
        randomness=dict(seed=0),
    )
    runner.train()
    return runner


def test_it_acts_once_and_updates_k_times(tmp_path):
    model = Bandit()
    runner = run(tmp_path, model, dict(type='dynnet.PPOTrainLoop', num_updates=3), 2)
    assert runner.iter == 6 and model.acted == 6 and len(model.ratios) == 18
    for i, ratio in enumerate(model.ratios):
        assert (i % 3 == 0) == bool(ratio.eq(1).all())


def test_one_update_is_the_plain_loop(tmp_path):
    torch.manual_seed(0)
    start = Bandit().state_dict()
    after = []
    for loop in (dict(by_epoch=True), dict(type='dynnet.PPOTrainLoop', num_updates=1)):
        model = Bandit()
        model.load_state_dict(start)
        torch.manual_seed(1)
        run(tmp_path, model, loop)
        after.append(model.state_dict())
    for name, value in after[0].items():
        torch.testing.assert_close(value, after[1][name])


def test_what_it_cannot_do_is_said(tmp_path):
    with pytest.raises(ConfigError, match='num_updates=0'):
        run(tmp_path, Bandit(), dict(type='dynnet.PPOTrainLoop', num_updates=0))

    class Plain(BaseModel):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(1, 1)

        def forward(self, inputs, data_samples=None, mode='tensor'):
            return {}

    with pytest.raises(ConfigError, match='needs a model that learns a policy'):
        run(tmp_path, Plain(), dict(type='dynnet.PPOTrainLoop'))
