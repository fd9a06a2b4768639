# Stage 3 on ActivityNet, patches of 160 pixels.
_base_ = ['../_base_/adafocus/r50_stage3.py', '../_base_/datasets/activitynet.py']

model = dict(patch_size=160)
load_from = 'work_dirs/adafocus-r50-stage2-p160_1xb64-50e_activitynet/epoch_50.pth'
