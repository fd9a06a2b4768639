# An MSDNet for comparisons on a CPU: three blocks of one layer, three exits.
_base_ = './msdnet_small.py'

model = dict(
    backbone=dict(num_blocks=3, base=1, step=1),
    head=dict(exit=dict(channels=32)),
)
