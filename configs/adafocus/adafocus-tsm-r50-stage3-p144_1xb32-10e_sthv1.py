# Stage 3 on Something-Something V1, patches of 144 pixels.
_base_ = ['../_base_/adafocus/tsm_r50_stage3.py', '../_base_/datasets/sthv1.py']

train_dataloader = dict(batch_size=32)
load_from = 'work_dirs/adafocus-tsm-r50-stage2-p144_1xb64-50e_sthv1/epoch_50.pth'
