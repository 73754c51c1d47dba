"""The losses of the COOT paper: contrastive alignment and clustering (eq. 1, 8), cycle consistency (eq. 5-7)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.config import LossConfig
from encoder.data.ragged import Ragged
from encoder.model import CootOutput
from training.linear import linear

UNREACHABLE = -32752.0


def contrastive(x: Tensor, y: Tensor, margin: float) -> Tensor:
    """Max-margin alignment of rows: ``1/n² Σ_{i≠j} [m + S_ij - S_ii]₊ + [m + S_ij - S_jj]₊``.

    Args:
        x, y: (n, d); rows are L2-normalised here, row i of one belongs to row i of the other.
        margin: m.
    """
    similarity = linear(F.normalize(x, dim=1), F.normalize(y, dim=1))  # (n, n)
    positive = similarity.diagonal()
    cost = F.relu(margin + similarity - positive[:, None]) + F.relu(margin + similarity - positive)
    return (cost.sum() - cost.diagonal().sum()) / len(x) ** 2


def cluster(x: Tensor, y: Tensor, margin: float) -> Tensor:
    """Spread each modality: ``½ [contrastive(x, x) + contrastive(y, y)]``."""
    return (contrastive(x, x, margin) + contrastive(y, y, margin)) / 2


def soft_neighbours(source: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Weights of the soft nearest neighbours: softmax over j of ``-mean_d (source_i - target_j)²``.

    Args:
        source: (B, C, D). target: (B, C', D). valid: (B, C, C') bool, both ends real.

    Returns:
        (B, C, C') rows that sum to one.
    """
    product = source @ target.transpose(1, 2)
    squares = source.square().sum(-1)[:, :, None] + target.square().sum(-1)[:, None]
    proximity = (2 * product - squares) / source.shape[-1]
    return proximity.masked_fill(~valid, UNREACHABLE).softmax(-1)


def cycle_loss(source: Tensor, target: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
    """Squared distance between each position and where the walk source -> target -> source ends (eq. 5-7).

    Returns:
        (B, C), zero at padding.
    """
    there = soft_neighbours(source, target, source_mask[:, :, None] & target_mask[:, None])
    both = source_mask[:, :, None] & source_mask[:, None]
    back = soft_neighbours(there @ target, source, both)  # (B, C, C)
    position = torch.arange(source.shape[1], device=source.device, dtype=source.dtype)
    return ((position - back @ position) ** 2) * source_mask


def mean_position(loss: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real positions of each video, then over videos: the expectation of `one_position`."""
    return ((loss * mask).sum(1) / mask.sum(1)).mean()


def one_position(loss: Tensor, mask: Tensor) -> Tensor:
    """The loss of one real position drawn uniformly from each video, averaged over videos (as published)."""
    drawn = torch.multinomial(mask.float(), 1)  # (B, 1)
    return loss.gather(1, drawn).mean()


def cycle_consistency(clips: Ragged, sentences: Ragged, reduce=one_position) -> Tensor:
    """Clip cycle plus sentence cycle, unweighted; ``reduce`` turns (B, C) position losses into a number."""
    c, c_mask = clips.padded()
    s, s_mask = sentences.padded()
    clip_cycle = reduce(cycle_loss(c, s, c_mask, s_mask), c_mask)
    return clip_cycle + reduce(cycle_loss(s, c, s_mask, c_mask), s_mask)


def contrastive_terms(output: CootOutput, config: LossConfig) -> dict[str, Tensor]:
    """Every weighted alignment and cluster term whose weight is not zero."""
    v, t, m = output.video, output.text, config.margin
    terms = {
        "high": (config.high, contrastive, v.high, t.high),
        "low": (config.low, contrastive, v.low, t.low),
        "context": (config.context, contrastive, v.context, t.context),
        "high_cluster": (config.high_cluster, cluster, v.high, t.high),
        "low_cluster": (config.low_cluster, cluster, v.low, t.low),
        "context_cluster": (config.context_cluster, cluster, v.context, t.context),
    }
    return {name: weight * loss(x, y, m) for name, (weight, loss, x, y) in terms.items() if weight}


def coot_loss(output: CootOutput, config: LossConfig, reduce=one_position) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss and its parts: all contrastive terms + lambda (clip cycle + sentence cycle)."""
    parts = contrastive_terms(output, config)
    if config.cycle_consistency:
        clips = Ragged(output.video.low, output.clip_num)
        sentences = Ragged(output.text.low, output.clip_num)
        parts["cycle"] = config.cycle_consistency * cycle_consistency(clips, sentences, reduce)
    return sum(parts.values()), parts
