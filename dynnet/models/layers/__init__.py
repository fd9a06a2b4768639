from .channel_stack import ChannelStack
from .conv_bn import Bottleneck, ConvBNReLU, SharedPointwise

__all__ = ['Bottleneck', 'ChannelStack', 'ConvBNReLU', 'SharedPointwise']
