# Stage 3 for comparison: the same network with random patches.
_base_ = ['adafocus-mobilenet-stage3_1xb16-3e_video-folder.py']

model = dict(policy=dict(type='dynnet.RandomPatchPolicy'))
