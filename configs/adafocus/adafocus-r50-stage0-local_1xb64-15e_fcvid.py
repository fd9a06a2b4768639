# Stage 0 on FCVID: the local encoder.
_base_ = ['../_base_/adafocus/r50_stage0_local.py', '../_base_/datasets/fcvid.py']

model = dict(num_classes=239)
load_from = 'work_dirs/adafocus-r50-stage0-global_1xb64-15e_fcvid/epoch_15.pth'
