# Stage 0 on Something-Something V1: the global encoder.
_base_ = ['../_base_/adafocus/tsm_r50_stage0_global.py', '../_base_/datasets/sthv1.py']
