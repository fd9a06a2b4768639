# Stage 2 on ActivityNet, patches of 192 pixels.
_base_ = ['../_base_/adafocus/r50_stage2.py', '../_base_/datasets/activitynet.py']

model = dict(patch_size=192)
load_from = 'work_dirs/adafocus-r50-stage1-p192_1xb64-50e_activitynet/epoch_50.pth'
