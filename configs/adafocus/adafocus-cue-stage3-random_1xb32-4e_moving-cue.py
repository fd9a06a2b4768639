# Stage 3 for comparison: the same network with random patches.
_base_ = ['adafocus-cue-stage3_1xb32-4e_moving-cue.py']

model = dict(policy=dict(type='dynnet.RandomPatchPolicy'))
