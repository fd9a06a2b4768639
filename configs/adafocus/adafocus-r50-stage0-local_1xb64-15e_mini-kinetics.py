# Stage 0 on Mini-Kinetics: the local encoder.
_base_ = [
    '../_base_/adafocus/r50_stage0_local.py',
    '../_base_/datasets/mini_kinetics.py',
]

load_from = 'work_dirs/adafocus-r50-stage0-global_1xb64-15e_mini-kinetics/epoch_15.pth'
