# Stage 2 on Mini-Kinetics, patches of 96 pixels.
_base_ = ['../_base_/adafocus/r50_stage2.py', '../_base_/datasets/mini_kinetics.py']

model = dict(patch_size=96)
load_from = 'work_dirs/adafocus-r50-stage1-p96_1xb64-50e_mini-kinetics/epoch_50.pth'
