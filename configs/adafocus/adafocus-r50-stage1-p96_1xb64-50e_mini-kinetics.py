# Stage 1 on Mini-Kinetics, patches of 96 pixels.
_base_ = ['../_base_/adafocus/r50_stage1.py', '../_base_/datasets/mini_kinetics.py']

model = dict(patch_size=96)
load_from = 'work_dirs/adafocus-r50-stage0-local_1xb64-15e_mini-kinetics/epoch_15.pth'
