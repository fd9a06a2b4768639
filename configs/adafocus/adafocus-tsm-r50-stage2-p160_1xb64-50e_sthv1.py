# Stage 2 on Something-Something V1, patches of 160 pixels.
_base_ = ['../_base_/adafocus/tsm_r50_stage2.py', '../_base_/datasets/sthv1.py']

model = dict(patch_size=160)
load_from = 'work_dirs/adafocus-tsm-r50-stage1-p160_1xb64-10e_sthv1/epoch_10.pth'
