# Stage 0 on ActivityNet: the local encoder.
_base_ = ['../_base_/adafocus/r50_stage0_local.py', '../_base_/datasets/activitynet.py']

load_from = 'work_dirs/adafocus-r50-stage0-global_1xb64-15e_activitynet/epoch_15.pth'
