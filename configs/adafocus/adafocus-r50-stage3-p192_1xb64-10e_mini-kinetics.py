# Stage 3 on Mini-Kinetics, patches of 192 pixels.
_base_ = ['../_base_/adafocus/r50_stage3.py', '../_base_/datasets/mini_kinetics.py']

model = dict(patch_size=192)
load_from = 'work_dirs/adafocus-r50-stage2-p192_1xb64-50e_mini-kinetics/epoch_50.pth'
