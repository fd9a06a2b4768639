# Stage 0 on Mini-Kinetics: the global encoder.
_base_ = [
    '../_base_/adafocus/r50_stage0_global.py',
    '../_base_/datasets/mini_kinetics.py',
]
