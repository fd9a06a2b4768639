"""Latency of dynamic networks, predicted from what a device is.

``estimate(network, build_model(device), density)`` is the entry point;
``dynnet.latency.describe`` makes descriptions of models, ``dynnet.latency.measure`` and
``fitting`` calibrate a profile of the machine at hand.
"""

from .cost import OpCost, sum_costs
from .cpu_model import CPULatencyModel
from .cpu_profile import BackendProfile, CPUProfile
from .density import Density
from .dilation import DilationCurve, make_masks
from .estimate import NetworkEstimate, PartEstimate, estimate
from .explore import Choice, best_granularity, break_even, explore
from .gpu import GPUOperators
from .gpu_model import GPULatencyModel
from .models import build_model
from .network import BlockSpec, LayerSpec, NetworkSpec, regnet_spec, resnet_spec
from .profile import GPUProfile, device_names, load_profile, save_profile

__all__ = [
    'BackendProfile',
    'BlockSpec',
    'CPULatencyModel',
    'CPUProfile',
    'Choice',
    'Density',
    'DilationCurve',
    'GPULatencyModel',
    'GPUOperators',
    'GPUProfile',
    'LayerSpec',
    'NetworkEstimate',
    'NetworkSpec',
    'OpCost',
    'PartEstimate',
    'best_granularity',
    'break_even',
    'build_model',
    'device_names',
    'estimate',
    'explore',
    'load_profile',
    'make_masks',
    'regnet_spec',
    'resnet_spec',
    'save_profile',
    'sum_costs',
]
