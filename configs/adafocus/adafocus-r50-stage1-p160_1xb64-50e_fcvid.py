# Stage 1 on FCVID, patches of 160 pixels.
_base_ = ['../_base_/adafocus/r50_stage1.py', '../_base_/datasets/fcvid.py']

model = dict(num_classes=239, patch_size=160)
load_from = 'work_dirs/adafocus-r50-stage0-local_1xb64-15e_fcvid/epoch_15.pth'
