# Stage 1 on ActivityNet, patches of 192 pixels.
_base_ = ['../_base_/adafocus/r50_stage1.py', '../_base_/datasets/activitynet.py']

model = dict(patch_size=192)
load_from = 'work_dirs/adafocus-r50-stage0-local_1xb64-15e_activitynet/epoch_15.pth'
