# Stage 0 on ActivityNet: the global encoder.
_base_ = [
    '../_base_/adafocus/r50_stage0_global.py',
    '../_base_/datasets/activitynet.py',
]
