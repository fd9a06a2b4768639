# RANet, three sub-networks (scales 1-2-3), 4 layers in every block.
# For anytime prediction: the whole training set, no thresholds.
_base_ = [
    '../_base_/models/ranet_cifar.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_sgd_300e.py',
    '../_base_/evaluation/early_exit.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(num_classes=100))
