# Its plain twin with adaptive rotated convolutions in the stages 2 to 4.
_base_ = './oriented-rcnn-le90_r18_1xb4-12e_ssdd-tiny.py'

model = dict(backbone=dict(type='dynnet.ARCResNet', kernel_number=4))
