# Stage 2 on Something-Something V1, patches of 144 pixels.
_base_ = ['../_base_/adafocus/tsm_r50_stage2.py', '../_base_/datasets/sthv1.py']

load_from = 'work_dirs/adafocus-tsm-r50-stage1-p144_1xb64-10e_sthv1/epoch_10.pth'
