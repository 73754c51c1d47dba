"""MART without recurrence: a joint video-text transformer that knows one clip and nothing else."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from captioner.batch import Batch
from captioner.config import ModelConfig
from captioner.models.blocks import AttentionBlock, Intermediate, Output, init_bert_weights
from captioner.models.cache import KeyValueCache
from captioner.models.joint import JointCaptioner, JointInput, JointState
from captioner.models.packing import Packing


class Layer(nn.Module):
    """Post-norm transformer layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = AttentionBlock(config)
        self.hidden_intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config)

    def forward(self, x: Tensor, packing: Packing, mask: Tensor, wanted: Tensor | None = None) -> Tensor:
        """(P, D) -> (P, D), or only the rows ``wanted`` (K,) of it."""
        return self._feed_forward(self.attention(x, packing, mask, wanted))

    def extend(self, x: Tensor, cache: KeyValueCache, mask: Tensor | None) -> Tensor:
        """The next positions (R, n, D) behind those in ``cache``."""
        return self._feed_forward(self.attention.extend(x, cache, mask))

    def _feed_forward(self, a: Tensor) -> Tensor:
        return self.output(self.hidden_intermediate(a), a)


class Encoder(nn.Module):
    """Layers one after the other."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, joint: JointInput, wanted: Tensor | None = None) -> Tensor:
        """Hidden states of all rows (P, D), or of those ``wanted`` (K,)."""
        *first, last = self.layer
        for layer in first:
            x = layer(x, joint.packing, joint.mask)
        return last(x, joint.packing, joint.mask, wanted)

    def begin(self, x: Tensor, real: Tensor | None, room: int, memory: Any) -> list[KeyValueCache]:
        """Caches of the layers after the video positions x (R, v + 2, D)."""
        mask = None if real is None else real[:, None, None]
        caches = [KeyValueCache.empty(len(x), self.n_heads, room, x) for _ in self.layer]
        for layer, cache in zip(self.layer, caches, strict=True):
            x = layer.extend(x, cache, mask)
        return caches

    def extend(self, x: Tensor, state: JointState) -> Tensor:
        """One more text position (R, 1, D)."""
        for layer, cache in zip(self.layer, state.layers, strict=True):
            x = layer.extend(x, cache, state.key_mask(cache.length + 1))
        return x


class NonRecurrentMart(JointCaptioner):
    """``mart_norec``: sections 3 to 5 of the MART paper without the memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        init_bert_weights(self, config.initializer_range)

    def label_hidden(self, batch: Batch) -> Tensor:
        x, joint = self.embed(batch)
        return self.encoder(x, joint, self.label_rows(batch, joint.packing))
