from .adaptive_rotated_conv import AdaptiveRotatedConv2d, RotationRouting
from .channel_stack import ChannelStack
from .cond_conv import CondConv2d
from .conv_bn import Bottleneck, ConvBNReLU, SharedPointwise
from .convert_conv import convert_conv
from .frozen_teacher import FrozenTeacher
from .kernel_mixing_conv import KernelMixingConv2d

__all__ = [
    'AdaptiveRotatedConv2d',
    'Bottleneck',
    'ChannelStack',
    'CondConv2d',
    'ConvBNReLU',
    'FrozenTeacher',
    'KernelMixingConv2d',
    'RotationRouting',
    'SharedPointwise',
    'convert_conv',
]
