"""Knowledge distillation from softened class probabilities."""

import torch
import torch.nn.functional as F


def kd_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0
) -> torch.Tensor:
    """Compare softened predictions: ``T^2 * KL(softmax(t/T) || softmax(s/T))``.

    The factor ``T^2`` keeps the gradient's size independent of the temperature
    (Hinton et al., 2015). Computed in float32, inside autocast too.

    Args:
        student: Logits (N, C).
        teacher: Logits (N, C); no gradient flows into them.
        temperature: Softens both; positive.

    Returns:
        The mean over the batch, a scalar.

    Raises:
        ValueError: The shapes differ, or the temperature is not positive.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            'teacher and student must predict the same classes: '
            f'student {tuple(student.shape)}, teacher {tuple(teacher.shape)}'
        )
    if temperature <= 0:
        raise ValueError(f'temperature must be positive, got {temperature}')
    wide = torch.promote_types(student.dtype, torch.float32)
    with torch.autocast(student.device.type, enabled=False):
        log_p = F.log_softmax(student.to(wide) / temperature, dim=1)
        log_q = F.log_softmax(teacher.detach().to(wide) / temperature, dim=1)
        divergence = F.kl_div(log_p, log_q, reduction='batchmean', log_target=True)
    return temperature**2 * divergence
