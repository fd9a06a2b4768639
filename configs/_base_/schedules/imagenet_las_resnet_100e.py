# imagenet_las_100e.py for ResNets, whose gates learn at a tenth of the rate.
_base_ = './imagenet_las_100e.py'

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.gate.': dict(lr_mult=0.1, decay_mult=1.0)})
)
