"""COOT as one writes it first: padded (n, T, D) tensors and nothing but plain torch operations.

It takes the weights of a `CootModel` of the published form (one layer, AF, padded mean, contextual transformer) and is
the other side of ``bench_encoder.py``; a test compares outputs and gradients with the packed model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.attention import Attention
from encoder.data.ragged import Batch, Ragged, key_mask
from encoder.layers import CootLayerNorm, EncoderLayer
from encoder.model import CootModel, CootOutput, GlobalNetwork, LocalNetwork, ModalityOutput
from encoder.pooling import MASKED, AttentionPool


@dataclass(frozen=True)
class PaddedBatch:
    """Frames and words with padding, as the published data loader gives them: pairs of (n, T, D) and mask (n, T)."""

    vid: tuple[Tensor, Tensor]
    clip: tuple[Tensor, Tensor]
    par: tuple[Tensor, Tensor]
    sent: tuple[Tensor, Tensor]
    clip_num: Tensor

    @classmethod
    def of(cls, batch: Batch) -> PaddedBatch:
        """Pad every sequence to the longest of its kind."""
        return cls(*(part.padded() for part in (batch.vid, batch.clip, batch.par, batch.sent)), batch.clip_num)


class PlainCoot:
    """Forward pass of ``model`` over padded tensors."""

    def __init__(self, model: CootModel) -> None:
        self.model = model

    def __call__(self, batch: PaddedBatch) -> CootOutput:
        m = self.model
        video = self._modality(m.video_local, m.video_global, batch.vid, batch.clip, batch.clip_num)
        text = self._modality(m.text_local, m.text_global, batch.par, batch.sent, batch.clip_num)
        return CootOutput(video, text, batch.clip_num)

    def _modality(self, lower, upper, whole, parts, counts: Tensor) -> ModalityOutput:
        context, low = self._local(lower, *whole), self._local(lower, *parts)
        return ModalityOutput(self._global(upper, low, counts, context), low, context)

    def _local(self, network: LocalNetwork, x: Tensor, mask: Tensor) -> Tensor:
        x = F.gelu(network.input_fc(_norm(network.norm_input, x)))  # (n, T, D)
        x = x + network.transformer.positions.table[: x.shape[1]]
        for layer in network.transformer.layers:
            x = self._layer(layer, x, x, mask)
        return self._pool(network.pooler, x, mask)

    def _global(self, network: GlobalNetwork, low: Tensor, counts: Tensor, context: Tensor) -> Tensor:
        x, _ = Ragged(low, counts).padded()  # (B, C, D)
        mask = key_mask(counts, x.shape[1])
        x = _norm(network.norm_input, x) + network.transformer.positions.table[: x.shape[1]]
        for layer in network.transformer.layers:
            x = self._layer(layer, x, x, mask)
        seen = self._layer(network.context, context[:, None], x, mask)[:, 0]
        return torch.cat([x.sum(1) / counts[:, None], seen], -1)

    def _layer(self, layer: EncoderLayer, query: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        attended = self._drop(_norm(layer.attention_norm, query + self._attend(layer.attention, query, source, mask)))
        hidden = F.gelu(self._drop(layer.up(attended)))
        return _norm(layer.feed_forward_norm, attended + self._drop(layer.down(hidden)))

    def _attend(self, attention: Attention, query: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)  # (n, H, T, D/H)

        q, k, v = heads(attention.query(query)), heads(attention.key(source)), heads(attention.value(source))
        scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).masked_fill(~mask[:, None, None], MASKED)
        return attention.final((self._drop(scores.softmax(-1)) @ v).transpose(1, 2).flatten(2))

    def _pool(self, af: AttentionPool, x: Tensor, mask: Tensor) -> Tensor:
        hidden = F.gelu(self._drop(torch.einsum("ntd,hde->nthe", x, af.w1) + af.b1))
        logits = self._drop((torch.einsum("nthe,hef->nthf", hidden, af.w2) + af.b2).flatten(2))  # (n, T, D)
        weights = self._drop(logits.masked_fill(~mask[..., None], MASKED).softmax(1))
        return (weights * x).sum(1)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.model.config.dropout, self.model.training)


def _norm(layer: CootLayerNorm, x: Tensor) -> Tensor:
    return layer.gain * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + layer.eps) + layer.bias
