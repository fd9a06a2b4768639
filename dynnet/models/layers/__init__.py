from .channel_stack import ChannelStack
from .conv_bn import Bottleneck, ConvBNReLU, SharedPointwise
from .frozen_teacher import FrozenTeacher

__all__ = [
    'Bottleneck',
    'ChannelStack',
    'ConvBNReLU',
    'FrozenTeacher',
    'SharedPointwise',
]
