# Stage 0 on Something-Something V1: the local encoder.
_base_ = ['../_base_/adafocus/tsm_r50_stage0_local.py', '../_base_/datasets/sthv1.py']

load_from = 'work_dirs/adafocus-tsm-r50-stage0-global_1xb64-50e_sthv1/epoch_50.pth'
