# Frame skipping (a reconstruction) on ActivityNet, patches of 128 pixels.
_base_ = ['../_base_/adafocus/r50_gate.py', '../_base_/datasets/activitynet.py']

load_from = 'work_dirs/adafocus-r50-stage3-p128_1xb64-10e_activitynet/epoch_10.pth'
