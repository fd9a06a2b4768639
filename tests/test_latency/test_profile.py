"""Hardware profiles: the published devices, and what is wrong with bad ones."""

import json

import pytest

from dynnet.latency import GPUProfile, device_names, load_profile, save_profile
from dynnet.utils.errors import ConfigError


def test_published_devices_are_packaged():
    assert device_names() == ['nano', 'rtx3060', 'rtx3090', 'tx2', 'v100']
    v100, rtx3090 = load_profile('v100'), load_profile('rtx3090')
    assert (v100.num_pe, v100.lanes, v100.frequency_hz) == (80, 64, 1.5e9)
    assert (rtx3090.l2_speedup, v100.l2_speedup) == (1, 4)
    assert {load_profile(name).tile_at for name in device_names()} == {'mean'}
    assert GPUProfile('mine', 1, 1, 1e9, 1e9).tile_at == 'actual'


GPU = dict(
    kind='gpu', name='mine', num_pe=4, lanes=32, frequency_hz=1e9, bandwidth=5e10
)


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        (dict(num_pe=0), ['num_pe=0', 'above 0']),
        (dict(bandwidth=-1.0), ['bandwidth=-1.0', 'above 0']),
        (dict(launch_s=-1e-6), ['launch_s', 'not be below 0']),
        (dict(lanes=32.5), ['lanes=32.5', 'whole number']),
        (dict(frequency_hz='fast'), ["frequency_hz='fast'", 'number']),
        (dict(frequency_hz=True), ['frequency_hz=True', 'number']),
        (dict(bandwidth=float('nan')), ['bandwidth=nan', 'finite']),
        (dict(mode='sum'), ["mode='sum'", 'add, max']),
        (dict(tile_at='best'), ["tile_at='best'", 'actual, mean']),
        (dict(colour='red', size=3), ['unknown field colour, size']),
        (dict(lanes=None), ['lanes=None']),
        (dict(name=3), ['name=3', 'text']),
        (dict(kind='tpu'), ["kind='tpu'"]),
    ],
)
def test_bad_profiles_name_file_and_field(changed, words, tmp_path):
    path = tmp_path / 'bad.json'
    path.write_text(json.dumps({**GPU, **changed}))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    message = str(caught.value)
    assert all(word in message for word in words) and 'bad.json' in message
    assert '\n' not in message


@pytest.mark.parametrize('missing', ['num_pe', 'bandwidth', 'kind'])
def test_missing_fields_are_named(missing, tmp_path):
    path = tmp_path / 'short.json'
    path.write_text(json.dumps({k: v for k, v in GPU.items() if k != missing}))
    with pytest.raises(ConfigError, match=f'short.json: missing field {missing}'):
        load_profile(path)


def test_bad_backends_of_a_cpu_are_named(cpu_values, tmp_path):
    path = tmp_path / 'cpu.json'
    cpu_values['backends']['cpp']['tap_s'] = -1.0
    path.write_text(json.dumps(dict(kind='cpu', **cpu_values)))
    with pytest.raises(ConfigError, match=r'backends.cpp.*tap_s=-1.0'):
        load_profile(path)
    del cpu_values['backends']['cpp'], cpu_values['backends']['gate']
    path.write_text(json.dumps(dict(kind='cpu', **cpu_values)))
    with pytest.raises(ConfigError, match='missing field backends.gate'):
        load_profile(path)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(ConfigError, match="no hardware profile 'v1000'.*tx2, v100"):
        load_profile('v1000')
    (tmp_path / 'x.json').write_text('{')
    with pytest.raises(ConfigError, match='x.json is no JSON'):
        load_profile(tmp_path / 'x.json')
    (tmp_path / 'y.json').write_text('[1]')
    with pytest.raises(ConfigError, match='y.json: expected an object'):
        load_profile(tmp_path / 'y.json')


def test_saved_profiles_come_back(cpu, tmp_path):
    for profile in (cpu, load_profile('tx2')):
        save_profile(profile, tmp_path / 'p.json')
        assert load_profile(tmp_path / 'p.json') == profile


def test_copies_are_as_fast_as_the_cache_that_holds_them(cpu):
    bandwidths = [cpu.copy_bandwidth(size) for size in (1e3, 1e6, 4e6, 1e8)]
    assert bandwidths == [1e11, 1e11, 5e10, 2e10]
