# Stage 1 on Something-Something V1, patches of 176 pixels.
_base_ = ['../_base_/adafocus/tsm_r50_stage1.py', '../_base_/datasets/sthv1.py']

model = dict(patch_size=176)
load_from = 'work_dirs/adafocus-tsm-r50-stage0-local_1xb64-50e_sthv1/epoch_50.pth'
