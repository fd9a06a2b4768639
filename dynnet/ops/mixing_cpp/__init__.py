"""Compiled mixing of kernels: a few passes over them instead of slim matrix products.

One output tap is a sum of at most four taps of each kernel, so most entries of the
mixing matrices are zero; and products with nine rows leave a general matrix routine
waiting. The kernels of this folder are compiled at first use, as those of
:mod:`dynnet.ops.sparse_conv` are, and ``DYNNET_SPARSE_CPP=0`` switches both off: then,
without a compiler, for other types and on other devices PyTorch's products are taken.
"""

from .function import mix_rows, unavailable

__all__ = ['mix_rows', 'unavailable']
