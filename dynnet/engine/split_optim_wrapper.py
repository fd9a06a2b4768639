"""One optimizer for the network, others for named parts of it."""

from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from torch import nn

from dynnet.registry import OPTIM_WRAPPER_CONSTRUCTORS
from dynnet.utils.errors import ConfigError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class SplitOptimWrapperConstructor:
    """Build an optimizer wrapper for each named part and one for the rest.

    Args:
        optim_wrapper_cfg: Name of a direct child of the model to the config of its
            optimizer wrapper; ``model`` is all that no other name has. Every entry may
            have a ``paramwise_cfg`` of its own.
        paramwise_cfg: Must be empty: it would be unclear whose it is.

    Raises:
        ConfigError: A part that the model does not have, no ``model``, or settings
            beside the parts.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor='dynnet.SplitOptimWrapperConstructor',
        ...     model=dict(optimizer=dict(type='SGD', lr=0.8, momentum=0.9)),
        ...     wpn=dict(optimizer=dict(type='Adam', lr=1e-4)))
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        parts = {k: v for k, v in optim_wrapper_cfg.items() if isinstance(v, dict)}
        others = sorted(set(optim_wrapper_cfg) - set(parts))
        if paramwise_cfg or others or 'optimizer' in parts:
            named = others + ['optimizer'] * ('optimizer' in parts)
            named += ['paramwise_cfg'] * bool(paramwise_cfg)
            hint = ''
            if optim_wrapper_cfg.get('type') == 'AmpOptimWrapper':
                hint = ' (mixed precision cannot be asked for all parts at once)'
            raise ConfigError(
                f'optim_wrapper.{named[0]} belongs into the parts{hint}: there are '
                f'{sorted(set(parts) - {"optimizer"})}'
            )
        if 'model' not in parts:
            raise ConfigError("optim_wrapper lacks the part 'model'")
        self.parts = parts

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Build the wrappers.

        Args:
            model: The model, maybe in a data-parallel wrapper.
        """
        model = getattr(model, 'module', model)
        children = dict(model.named_children())
        rest = nn.Module()
        for name, child in children.items():
            if name not in self.parts:
                rest.add_module(name, child)
        for name, parameter in model.named_parameters(recurse=False):
            rest.register_parameter(name, parameter)
        wrappers = {}
        for name, cfg in self.parts.items():
            if name != 'model' and name not in children:
                raise ConfigError(
                    f'optim_wrapper.{name}: the model has no part of that name, only '
                    f'{sorted(children)}'
                )
            part = rest if name == 'model' else children[name]
            wrappers[name] = build_optim_wrapper(part, ConfigDict(cfg))
        return OptimWrapperDict(**wrappers)
