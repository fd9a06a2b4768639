# Stage 2 on FCVID, patches of 192 pixels.
_base_ = ['../_base_/adafocus/r50_stage2.py', '../_base_/datasets/fcvid.py']

model = dict(num_classes=239, patch_size=192)
load_from = 'work_dirs/adafocus-r50-stage1-p192_1xb64-50e_fcvid/epoch_50.pth'
