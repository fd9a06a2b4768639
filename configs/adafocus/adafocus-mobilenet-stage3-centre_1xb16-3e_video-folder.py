# Stage 3 for comparison: the same network with patches in the middle.
_base_ = ['adafocus-mobilenet-stage3_1xb16-3e_video-folder.py']

model = dict(policy=dict(type='dynnet.CentrePatchPolicy'))
