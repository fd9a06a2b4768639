"""Hardware profiles: what a device's latency model knows of it, in a JSON file."""

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dynnet.utils.atomic import write_atomic
from dynnet.utils.errors import ConfigError

from .cost import MODES

DEVICES = Path(__file__).parent / 'devices'
TILE_AT = ('actual', 'mean')


def _positive(kind: type, **kwargs) -> Any:
    return field(metadata=dict(kind=kind, above=0), **kwargs)


def _not_negative(kind: type, **kwargs) -> Any:
    return field(metadata=dict(kind=kind, least=0), **kwargs)


def _one_of(*choices: str, default: str) -> Any:
    return field(default=default, metadata=dict(choices=choices))


@dataclass(frozen=True)
class GPUProfile:
    """A device of many equal processing elements (LAUDNet's latency predictor).

    Attributes:
        name: What it is called.
        num_pe: Processing elements (streaming multiprocessors).
        lanes: float32 lanes of an element.
        frequency_hz: Operations per second of a lane.
        bandwidth: Of the device's memory, bytes/s.
        batch_size: Pictures that run together.
        l2_speedup: Bandwidth of the L2 cache over that of the memory.
        request_width: float32 numbers that a memory request brings (32 bytes).
        wave_factor: Items that a lane takes at once.
        launch_s: Seconds to launch a kernel.
        mode: How compute and memory make up the time: ``'add'`` (published) or
            ``'max'``.
        tile_at: Whether a dynamic operator's tile is chosen for the ``'actual'``
            density, or for the ``'mean'`` one, as published: then more bandwidth can
            make an operator slower.
        source: Where the numbers come from.
    """

    name: str
    num_pe: int = _positive(int)
    lanes: int = _positive(int)
    frequency_hz: float = _positive(float)
    bandwidth: float = _positive(float)
    batch_size: int = _positive(int, default=1)
    l2_speedup: float = _positive(float, default=4.0)
    request_width: int = _positive(int, default=8)
    wave_factor: int = _positive(int, default=4)
    launch_s: float = _not_negative(float, default=8e-6)
    mode: str = _one_of(*MODES, default='add')
    tile_at: str = _one_of(*TILE_AT, default='actual')
    source: str = ''
    kind = 'gpu'

    def __post_init__(self) -> None:
        check_fields(self, f'profile {self.name!r}')


def check_fields(profile: Any, where: str) -> None:
    """Check the values of a profile, or of a part of one.

    Args:
        profile: An instance of a data class of this module.
        where: Names it in messages.

    Raises:
        ConfigError: A value of the wrong type or out of its range; names the field.
    """
    for entry in fields(profile):
        value, meta = getattr(profile, entry.name), entry.metadata
        name = f'{where}: {entry.name}={value!r}'
        if 'choices' in meta and value not in meta['choices']:
            raise ConfigError(f'{name} must be one of {", ".join(meta["choices"])}')
        if entry.type in (str, 'str') and not isinstance(value, str):
            raise ConfigError(f'{name} must be text')
        if 'kind' not in meta:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or (meta['kind'] is int and value != int(value)):
            what = 'a whole number' if meta['kind'] is int else 'a number'
            raise ConfigError(f'{name} must be {what}')
        if value != value or value in (float('inf'), float('-inf')):
            raise ConfigError(f'{name} must be finite')
        if 'above' in meta and not value > meta['above']:
            raise ConfigError(f'{name} must be above {meta["above"]}')
        if 'least' in meta and not value >= meta['least']:
            raise ConfigError(f'{name} must not be below {meta["least"]}')


def build(cls: type, values: Any, where: str) -> Any:
    """Build a data class from JSON values.

    Args:
        cls: The class.
        values: Its fields.
        where: Names them in messages.

    Raises:
        ConfigError: A field is unknown, missing, or has a value that cannot be.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f'{where}: expected an object with fields, not {values!r}')
    known = {entry.name: entry for entry in fields(cls)}
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(
            f'{where}: unknown field {", ".join(unknown)} (known: {", ".join(known)})'
        )
    needed = {
        name
        for name, entry in known.items()
        if entry.default is MISSING and entry.default_factory is MISSING
    }
    if missing := sorted(needed - set(values)):
        raise ConfigError(f'{where}: missing field {", ".join(missing)}')
    try:
        return cls(**values)
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if where in text else f'{where}: {text}') from None


def device_names() -> list[str]:
    """Names of the devices that come with the package."""
    return sorted(path.stem for path in DEVICES.glob('*.json'))


def load_profile(device: str | os.PathLike) -> Any:
    """Read a hardware profile.

    Args:
        device: Path of a JSON file, or the name of a device of the package
            (:func:`device_names`).

    Returns:
        A :class:`GPUProfile`, or a :class:`~dynnet.latency.cpu_profile.CPUProfile`.

    Raises:
        ConfigError: No such file or device, no JSON, or a field that is unknown,
            missing or impossible; the message names the file and the field.
    """
    path = Path(device)
    if not path.is_file():
        path = DEVICES / f'{device}.json'
        if str(device) not in device_names():
            raise ConfigError(
                f'no hardware profile {str(device)!r}: give a JSON file or one of '
                f'{", ".join(device_names())}'
            )
    try:
        values = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} is no JSON: {error}') from None
    return profile_from_dict(values, str(path))


def profile_from_dict(values: Any, where: str = 'profile') -> Any:
    """Build a profile from what a JSON file holds.

    Args:
        values: The fields, ``kind`` (``'gpu'`` or ``'cpu'``) among them.
        where: Names it in messages.

    Raises:
        ConfigError: See :func:`load_profile`.
    """
    from .cpu_profile import CPUProfile

    if not isinstance(values, Mapping):
        raise ConfigError(f'{where}: expected an object with fields, not {values!r}')
    values = dict(values)
    kinds = {cls.kind: cls for cls in (GPUProfile, CPUProfile)}
    if 'kind' not in values:
        raise ConfigError(f'{where}: missing field kind ({" or ".join(kinds)})')
    kind = values.pop('kind')
    if kind not in kinds:
        raise ConfigError(f'{where}: kind={kind!r} must be one of {", ".join(kinds)}')
    return build(kinds[kind], values, where)


def save_profile(profile: Any, path: str | os.PathLike) -> None:
    """Write a profile as JSON.

    Args:
        profile: The profile.
        path: The file; replaced as a whole.
    """
    values = dict(kind=profile.kind, **asdict(profile))
    write_atomic(path, (json.dumps(values, indent=2) + '\n').encode())
