# Stage 1 on Something-Something V2, patches of 160 pixels.
_base_ = ['../_base_/adafocus/tsm_r50_stage1.py', '../_base_/datasets/sthv2.py']

model = dict(patch_size=160)
load_from = 'work_dirs/adafocus-tsm-r50-stage0-local_1xb64-50e_sthv2/epoch_50.pth'
