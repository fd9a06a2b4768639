from .channel_stack import ChannelStack
from .conv_bn import Bottleneck, ConvBNReLU

__all__ = ['Bottleneck', 'ChannelStack', 'ConvBNReLU']
