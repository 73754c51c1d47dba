"""The two training losses of the captioners, on labelled positions only."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def smoothed_loss(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Sum over positions of KL(q || p), q being 1 - e at the label and e / (V - 1) at every other word.

    Args:
        scores: (K, V) before the softmax.
        labels: (K,) int64.
        smoothing: e, in (0, 1].

    Returns:
        Scalar; 0 for K = 0. The entropy of q is part of it, as in `torch.nn.KLDivLoss`.
    """
    n_words = scores.shape[1]
    other = smoothing / (n_words - 1)
    scores = scores.float()
    log_z = scores.logsumexp(dim=1)
    right = scores.gather(1, labels[:, None]).squeeze(1)
    expected = other * scores.sum(dim=1) + (1 - smoothing - other) * right  # sum_v q_v score_v
    return (log_z - expected).sum() - len(labels) * _entropy(smoothing, n_words)


def _entropy(smoothing: float, n_words: int) -> float:
    entropy = -smoothing * math.log(smoothing / (n_words - 1))
    return entropy - (1 - smoothing) * math.log(1 - smoothing) if smoothing < 1 else entropy


def cross_entropy(scores: Tensor, labels: Tensor, steps: Tensor, n_steps: int) -> Tensor:
    """Sum over sentence steps of the mean cross-entropy of their labelled positions.

    Args:
        scores: (K, V); labels: (K,); steps: (K,) int64 in 0..n_steps-1, the step of each position.
    """
    losses = F.cross_entropy(scores.float(), labels, reduction="none")
    counts = torch.bincount(steps, minlength=n_steps)  # (S,)
    return (losses / counts[steps]).sum()
