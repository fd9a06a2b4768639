"""A CPU profile with round numbers, and a small network."""

import pytest

from dynnet.latency import BlockSpec, CPUProfile, NetworkSpec


@pytest.fixture
def cpu_values():
    backend = dict(
        pointwise_cost=1.0, window_cost=0.9, weight_cost=1.0, traffic_cost=1.0,
        position_s=1e-9, tap_s=5e-9, call_s=1e-5,
    )  # fmt: skip
    dense = dict(backend, weight_cost=4.0)
    return dict(
        name='round', cores=2, simd_lanes=16, frequency_hz=2e9, flops_per_cycle=50.0,
        l1_bytes=1 << 15, l2_bytes=1 << 20, l3_bytes=1 << 25, l2_bandwidth=1e11,
        l3_bandwidth=5e10, bandwidth=2e10, read_bandwidth=2e10, dispatch_s=1e-6,
        thread_launch_s=0.0,
        backends=dict(
            dense=dense,
            torch=dict(backend, tap_s=5e-8),
            cpp=dict(backend),
            gate=dict(backend),
            depthwise=dict(backend, window_cost=8.0),
            grouped=dict(backend, window_cost=3.0),
            layer=dict(backend),
        ),
    )  # fmt: skip


@pytest.fixture
def cpu(cpu_values):
    return CPUProfile(**cpu_values)


@pytest.fixture
def net():
    blocks = (
        BlockSpec('layer1.0', 0, 64, 64, 256, (28, 28), projection=True, granularity=4),
        BlockSpec('layer1.1', 0, 256, 64, 256, (28, 28), granularity=4),
        BlockSpec(
            'layer2.0', 1, 256, 128, 512, (14, 14), 2, projection=True, granularity=2
        ),
        BlockSpec('layer2.1', 1, 512, 128, 512, (14, 14), granularity=2),
    )
    return NetworkSpec('small', blocks)
