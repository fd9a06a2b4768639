# Stage 0 on FCVID: the global encoder.
_base_ = ['../_base_/adafocus/r50_stage0_global.py', '../_base_/datasets/fcvid.py']

model = dict(num_classes=239)
