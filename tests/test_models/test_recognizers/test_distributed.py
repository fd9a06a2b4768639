"""Two processes learn what one does from the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = """
import sys
import torch
from mmengine.registry import init_default_scope
from dynnet.registry import MODELS
from dynnet.utils.optional import require

require('mmaction')
init_default_scope('mmaction')
rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
torch.distributed.init_process_group(
    'gloo', f'file://{folder}/meet', rank=rank, world_size=2
)
given = torch.load(f'{folder}/given.pth')
net = MODELS.build(given['cfg'])
net.load_state_dict(given['state'])
net.train()
clips, labels, actions, corners = given['halves'][rank]
rollout = net.rollout(clips, labels, actions, corners)
loss, _ = net.parse_losses(net.policy_losses(rollout))
loss.backward()
grads = {name: p.grad for name, p in net.policy.named_parameters()}
for grad in grads.values():  # as data parallelism does
    torch.distributed.all_reduce(grad)
    grad /= 2
torch.save(grads, f'{folder}/{rank}.pth')
"""


@pytest.fixture
def batch(clips, labels):
    """Four clips, their labels, stored actions and random corners."""
    generator = torch.Generator().manual_seed(1)
    actions = torch.randint(25, (4, 4), generator=generator)
    corners = torch.randint(16, (4, 4, 2), generator=generator)
    return clips[:4], labels[:4], actions, corners


def test_two_processes_have_the_gradient_of_the_whole_batch(
    small_config, make_adafocus, batch, tmp_path
):
    train_cfg = dict(stage='policy', from_scratch=True)
    net = make_adafocus(train_cfg=train_cfg).train()
    for module in net.policy.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    clips, labels, actions, corners = batch
    halves = [
        (clips[rows], labels[rows], actions[:, rows], corners[:, rows])
        for rows in (slice(0, 2), slice(2, 4))
    ]
    cfg = small_config(train_cfg=train_cfg)
    given = dict(cfg=cfg, state=net.state_dict(), halves=halves)
    torch.save(given, tmp_path / 'given.pth')
    root = str(Path(__file__).parents[3])
    env = {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-W', 'ignore', '-c', WORKER]
    workers = [
        subprocess.Popen([*command, str(rank), str(tmp_path)], env=env)
        for rank in range(2)
    ]
    rollout = net.rollout(clips, labels, actions, corners)
    loss, _ = net.parse_losses(net.policy_losses(rollout))
    loss.backward()
    assert [worker.wait(300) for worker in workers] == [0, 0]
    whole = {name: p.grad for name, p in net.policy.named_parameters()}
    for rank in range(2):
        grads = torch.load(tmp_path / f'{rank}.pth')
        for name, expected in whole.items():
            torch.testing.assert_close(grads[name], expected, rtol=0, atol=1e-5)
    assert max(float(grad.abs().max()) for grad in whole.values()) > 1e-2
