"""Errors that tell a user what to change. The tools print them as one line."""


class DynnetError(Exception):
    """Base of the errors whose message (one line) is all that a user needs."""


class ConfigError(DynnetError, ValueError):
    """A setting of the config or the command line cannot work."""


class DataError(DynnetError, ValueError):
    """A data file is missing, damaged or holds something else than promised."""


class CheckpointError(DynnetError, RuntimeError):
    """A checkpoint cannot be written or found."""


class NonFiniteLossError(DynnetError, FloatingPointError):
    """Training produced NaN or infinity."""
