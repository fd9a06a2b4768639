# RANet, three sub-networks (scales 1-2-3), blocks of 2, 4, 6, ... layers: the command
# of the published README.
# For budgets: 5 000 training pictures are held out and thresholds are solved on them.
_base_ = [
    '../_base_/models/ranet_cifar.py',
    '../_base_/datasets/cifar10_holdout.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=dict(step=2, step_mode='lg'))
test_cfg = dict(calib_dataloader={{_base_.calib_dataloader}})
