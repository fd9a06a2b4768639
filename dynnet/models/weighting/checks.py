"""What L2W-DEN cannot work with, refused in one line each."""

from mmengine.optim import AmpOptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from dynnet.utils.errors import ConfigError, NonFiniteLossError


def split_batch(data: dict) -> tuple[dict, dict]:
    """Cut a loader's batch in two; the first half gets the odd sample.

    The halves are preprocessed apart, so that a batch augmentation such as mixup does
    not mix training pictures with meta pictures.

    Raises:
        ConfigError: There are fewer than two samples.
    """
    size = len(data['inputs'])
    if size < 2:
        raise ConfigError(
            f'L2W-DEN cuts a batch in two halves and got one of {size}: set '
            'train_dataloader.batch_size to 2 or more, and drop_last=True'
        )
    middle = (size + 1) // 2
    first = {name: values[:middle] for name, values in data.items()}
    second = {name: values[middle:] for name, values in data.items()}
    return first, second


def check_optimizers(optim_wrapper: OptimWrapperDict) -> None:
    """Refuse optimizers that the two steps cannot be taken with.

    Raises:
        ConfigError: There are not both parts, or a part accumulates gradients, clips
            the network's or runs in mixed precision.
    """
    if not isinstance(optim_wrapper, OptimWrapperDict) or (
        {*optim_wrapper.keys()} != {'model', 'wpn'}
    ):
        raise ConfigError(
            'L2W-DEN needs two optimizers: optim_wrapper=dict(constructor='
            "'dynnet.SplitOptimWrapperConstructor', model=dict(...), wpn=dict(...))"
        )
    for name, wrapper in optim_wrapper.items():
        if isinstance(wrapper, AmpOptimWrapper):
            raise ConfigError(
                f'optim_wrapper.{name}: L2W-DEN does not run in mixed precision; '
                'use OptimWrapper'
            )
        if wrapper._accumulative_counts != 1:
            raise ConfigError(
                f'optim_wrapper.{name}.accumulative_counts must be 1: the pseudo step '
                'foresees a step that is taken at once'
            )
    if optim_wrapper['model'].clip_grad_kwargs:
        raise ConfigError(
            'optim_wrapper.model.clip_grad is not supported: the pseudo step does not '
            'clip'
        )


def check_finite(losses: Tensor, when: str = 'before the step') -> None:
    """Refuse to step on losses that are not finite.

    Args:
        losses: Of a half batch, (N, E).
        when: For the message.

    Raises:
        NonFiniteLossError: Names the first bad sample and exit.
    """
    finite = losses.detach().isfinite()
    if not finite.all():
        sample, exit_index = (~finite).nonzero()[0].tolist()
        value = float(losses[sample, exit_index])
        raise NonFiniteLossError(
            f'the loss of sample {sample} of the half batch at exit {exit_index + 1} '
            f'is {value} {when}: training stopped, no step was taken on it'
        )


def check_functional(model: nn.Module) -> None:
    """Refuse what the passes at other parameters cannot be run through.

    Args:
        model: The network.

    Raises:
        ConfigError: It has SyncBN, which has no forward-mode derivative, or layers that
            are recomputed in the backward pass (``with_cp``), which would then be run
            with the real parameters.
    """
    for name, module in model.named_modules():
        if type(module).__name__ == 'SyncBatchNorm':  # torch's or mmcv's
            raise ConfigError(
                f'{name} is a SyncBN, which has no forward-mode derivative: train '
                'L2W-DEN without sync_bn'
            )
        if getattr(module, 'with_cp', False) is True:
            raise ConfigError(
                f'{name} has with_cp=True: activation checkpointing would recompute '
                'the pseudo step with the wrong parameters; set with_cp=False'
            )
