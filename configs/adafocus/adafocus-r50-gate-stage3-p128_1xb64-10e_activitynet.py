# Frame skipping (a reconstruction): the classifier learns the skipped frames' zeros.
_base_ = ['../_base_/adafocus/r50_stage3.py', '../_base_/datasets/activitynet.py']

model = dict(policy=dict(with_gate=True))
load_from = 'work_dirs/adafocus-r50-gate-p128_1xb64-50e_activitynet/epoch_50.pth'
