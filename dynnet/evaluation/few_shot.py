"""N-way K-shot episodes on fixed features: pure functions.

A frozen backbone turns pictures into features once. An episode draws N classes with K
labelled (support) and Q other (query) pictures each; a new classifier is fitted to the
support features and tested on the query features.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dynnet.utils.errors import ConfigError

CLASSIFIERS = ('linear', 'cosine')
# Episodes that are fitted at once: bounds the memory of wide features.
CHUNK = 100


def draw_episodes(
    labels: np.ndarray, ways: int, shots: int, queries: int, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw classes and pictures for all episodes.

    Args:
        labels: Class of each picture (M,).
        ways: Classes per episode N.
        shots: Support pictures per class K.
        queries: Query pictures per class Q.
        episodes: Number of episodes E.
        seed: Seed of the draw.

    Returns:
        Indices of support (E, N, K) and query pictures (E, N, Q); no picture is in
        both within an episode.

    Raises:
        ConfigError: There are too few classes, or too few pictures of one.
    """
    members = {int(c): np.flatnonzero(labels == c) for c in np.unique(labels)}
    if ways < 2 or shots < 1 or queries < 1 or episodes < 2:
        raise ConfigError(
            f'{ways}-way {shots}-shot with {queries} queries and {episodes} episodes: '
            'at least 2 ways, 1 shot, 1 query and 2 episodes are needed'
        )
    if len(members) < ways:
        raise ConfigError(
            f'{ways}-way episodes need {ways} classes, the data have {len(members)}'
        )
    for name, indices in members.items():
        if len(indices) < shots + queries:
            raise ConfigError(
                f'class {name} has {len(indices)} pictures, {shots} shots and '
                f'{queries} queries need {shots + queries}'
            )
    rng, classes = np.random.default_rng(seed), np.array(list(members))
    drawn = np.stack(
        [
            np.stack(
                [
                    rng.choice(members[int(c)], shots + queries, replace=False)
                    for c in rng.choice(classes, ways, replace=False)
                ]
            )
            for _ in range(episodes)
        ]
    )
    return drawn[..., :shots], drawn[..., shots:]


def fit_linear(
    support: Tensor, weight_decay: float = 1e-3, steps: int = 300
) -> tuple[Tensor, Tensor]:
    r"""Fit a linear classifier to each episode: regularised softmax regression.

    Minimises :math:`CE + \frac{\lambda}{2} |W|^2` from W = 0 by gradient descent on all
    support pictures at once, so that nothing is random. Features are shifted and scaled
    by the support's mean and mean norm first, which keeps the classifier linear.

    Args:
        support: Features (E, N, K, D).
        weight_decay: The factor lambda.
        steps: Steps of the descent.

    Returns:
        Weights (E, N, D) and biases (E, N), for features as they are.
    """
    centre = support.mean((1, 2), keepdim=True)
    norm = (support - centre).norm(dim=-1, keepdim=True).mean((1, 2, 3), keepdim=True)
    norm = norm.clamp_min(1e-12)
    x, target = _rows((support - centre) / norm)
    weight = x.new_zeros(len(x), support.size(1), x.size(2))
    bias = x.new_zeros(len(x), support.size(1))

    def loss(weight: Tensor, bias: Tensor) -> Tensor:
        logits = x @ weight.transpose(1, 2) + bias[:, None]
        return _cross_entropy(logits, target) + weight_decay / 2 * weight.square().sum()

    weight, bias = _descend(loss, [weight, bias], steps, lr=1.0)
    weight = weight / norm[:, :, 0]
    return weight, bias - (weight * centre[:, :, 0]).sum(2)


def fit_cosine(support: Tensor, scale: float = 10.0, steps: int = 100) -> Tensor:
    """Fit a classifier by cosine similarity to each episode.

    Logits are ``scale * cos(x, w_c)``; the weights start at the classes' means.

    Args:
        support: Features (E, N, K, D).
        scale: Factor of the cosine.
        steps: Steps of the descent.

    Returns:
        Weights (E, N, D) of length 1.
    """
    x, target = _rows(F.normalize(support, dim=-1))
    weight = F.normalize(F.normalize(support, dim=-1).mean(2), dim=-1)

    def loss(weight: Tensor) -> Tensor:
        logits = scale * x @ F.normalize(weight, dim=-1).transpose(1, 2)
        return _cross_entropy(logits, target)

    (weight,) = _descend(loss, [weight], steps, lr=0.1)
    return F.normalize(weight, dim=-1)


def episode_accuracies(
    features: Tensor, support: np.ndarray, query: np.ndarray, classifier: str
) -> np.ndarray:
    """Fit and test a classifier in every episode.

    Args:
        features: Features of all pictures (M, D).
        support: Indices of the support pictures (E, N, K).
        query: Indices of the query pictures (E, N, Q).
        classifier: ``'linear'`` or ``'cosine'``.

    Returns:
        Accuracies (E,) in [0, 1].

    Raises:
        ConfigError: Another classifier.
    """
    if classifier not in CLASSIFIERS:
        raise ConfigError(
            f'classifier={classifier!r}: choose from {", ".join(CLASSIFIERS)}'
        )
    results = []
    for part in _chunks(len(support)):
        known, asked = features[support[part]], features[query[part]]
        if classifier == 'linear':
            weight, bias = fit_linear(known)
            logits = torch.einsum('enqd,ecd->enqc', asked, weight) + bias[:, None, None]
        else:
            # Lengths of the asked features do not change which cosine is largest.
            logits = torch.einsum('enqd,ecd->enqc', asked, fit_cosine(known))
        right = logits.argmax(3) == torch.arange(support.shape[1])[:, None]
        results.append(right.double().mean((1, 2)))
    return torch.cat(results).numpy()


def mean_and_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and half the width of its 95 % interval (normal law).

    Args:
        values: (E,), E > 1.
    """
    return float(values.mean()), float(
        1.96 * values.std(ddof=1) / math.sqrt(len(values))
    )


def _rows(features: Tensor) -> tuple[Tensor, Tensor]:
    """Features (E, N, K, D) as rows (E, N * K, D), with their classes (N * K,)."""
    _, ways, shots, _ = features.shape
    return features.flatten(1, 2), torch.arange(ways).repeat_interleave(shots)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Sum over the episodes of the mean cross-entropy in each."""
    log_probs = logits.log_softmax(2)
    rows = torch.arange(len(target))
    return -log_probs[:, rows, target].mean(1).sum()


def _descend(loss, parameters: list[Tensor], steps: int, lr: float) -> list[Tensor]:
    """Gradient descent with momentum; the episodes do not disturb each other."""
    with torch.enable_grad():
        parameters = [p.detach().clone().requires_grad_() for p in parameters]
        optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9)
        for _ in range(steps):
            optimizer.zero_grad()
            loss(*parameters).backward()
            optimizer.step()
    return [p.detach() for p in parameters]


def _chunks(length: int) -> Iterator[slice]:
    for start in range(0, length, CHUNK):
        yield slice(start, start + CHUNK)
