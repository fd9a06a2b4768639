# Stage 2 on FCVID, patches of 160 pixels.
_base_ = ['../_base_/adafocus/r50_stage2.py', '../_base_/datasets/fcvid.py']

model = dict(num_classes=239, patch_size=160)
load_from = 'work_dirs/adafocus-r50-stage1-p160_1xb64-50e_fcvid/epoch_50.pth'
