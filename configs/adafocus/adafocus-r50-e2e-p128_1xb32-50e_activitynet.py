# In the spirit of AdaFocusV2, not a reproduction: end to end, patches of 128 pixels.
_base_ = ['../_base_/adafocus/r50_end_to_end.py', '../_base_/datasets/activitynet.py']

train_dataloader = dict(batch_size=32)
