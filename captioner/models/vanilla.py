"""The vanilla baseline: the masked transformer of dense captioning, with its video encoder and its text decoder.

Video padding takes part in attention as zero vectors, as published; so clips are padded to ``max_v_len``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.batch import Batch, length_mask
from captioner.config import ModelConfig
from captioner.models.base import Captioner
from captioner.models.blocks import sinusoids
from captioner.models.cache import KeyValueCache, Rows
from captioner.models.packing import Packing
from training.dropout import Dropout, attention
from training.linear import Linear


class LayerNorm(nn.Module):
    """``gamma (x - mean) / (std + 1e-6) + beta`` with the unbiased standard deviation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size))
        self.beta = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        std = torch.linalg.vector_norm(centred, dim=-1, keepdim=True) / (x.shape[-1] - 1) ** 0.5  # faster than x.std
        return torch.addcmul(self.beta, self.gamma, centred / (std + 1e-6))


class MultiHead(nn.Module):
    """Attention without biases whose scores are divided by the root of the full width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads, self.dropout, self.scale = config.n_heads, config.attention_dropout, size**-0.5
        self.wq, self.wk, self.wv, self.wo = (Linear(size, size, bias=False) for _ in range(4))

    def keys(self, x: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
        """Keys and values (T, H, L, d) of packed x (P, D)."""
        key, value = (packing.split_heads(layer(x), self.n_heads)[0] for layer in (self.wk, self.wv))
        return key, value

    def forward(self, x: Tensor, packing: Packing, keys: tuple[Tensor, Tensor], causal: bool = False) -> Tensor:
        """Attend from packed x (P, D) to keys and values (T, H, Lk, d)."""
        query = packing.split_heads(self.wq(x), self.n_heads)[0]
        dropout = self.dropout if self.training else 0.0
        out = attention(query, *keys, p=dropout, causal=causal, scale=self.scale)
        return self.wo(packing.merge_heads(out))


class FeedForward(nn.Module):
    """``Linear(ReLU(Linear(x)))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.linear1 = Linear(config.hidden_size, config.intermediate_size)
        self.linear2 = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear2(F.relu(self.linear1(x)))


class Residual(nn.Module):
    """``LN(x + dropout(layer(x, ...)))``."""

    def __init__(self, layer: nn.Module, config: ModelConfig) -> None:
        super().__init__()
        self.layer = layer
        self.layernorm = LayerNorm(config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        return self.layernorm(x + self.dropout(self.layer(x, *args)))


class EncoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.selfattn = Residual(MultiHead(config), config)
        self.feedforward = Residual(FeedForward(config), config)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """(P, D) -> (P, D)."""
        return self.feedforward(self.selfattn(x, packing, self.selfattn.layer.keys(x, packing)))


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.selfattn = Residual(MultiHead(config), config)
        self.attention = Residual(MultiHead(config), config)
        self.feedforward = Residual(FeedForward(config), config)

    def forward(self, x: Tensor, packing: Packing, video: tuple[Tensor, Tensor]) -> Tensor:
        """Packed text (P, D) over keys and values (T, H, v, d) of the video."""
        x = self.selfattn(x, packing, self.selfattn.layer.keys(x, packing), True)
        return self.feedforward(self.attention(x, packing, video))

    def extend(self, x: Tensor, state: LayerState) -> Tensor:
        """One more position of R sentences (R, D)."""
        packing = Packing(len(x), 1, None)
        keys = state.text.append(*self.selfattn.layer.keys(x, packing))
        return self.feedforward(self.attention(self.selfattn(x, packing, keys), packing, state.video))


@dataclass
class LayerState(Rows):
    text: KeyValueCache
    video: tuple[Tensor, Tensor]  # keys and values (R, H, v, d)


@dataclass
class VanillaState(Rows):
    layers: list[LayerState]
    length: int = 0


class Encoder(nn.Module):
    """Video features to one sequence of states a layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_positions = config.max_v_len
        self.video_embeddings = nn.Sequential(
            LayerNorm(config.video_feature_size),
            Dropout(config.hidden_dropout),
            Linear(config.video_feature_size, config.hidden_size),
        )
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        table = sinusoids(config.max_v_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def forward(self, video: Tensor, lengths: Tensor) -> list[Tensor]:
        """(T, v, Dv) -> n_layers x (T, max_v_len, D), padding included."""
        video = F.pad(video, (0, 0, 0, self.n_positions - video.shape[1]))
        real = length_mask(lengths, self.n_positions)[..., None].to(video.dtype)
        x = self.dropout(self.video_embeddings(video) + self.position_table) * real
        packing = Packing(len(video), self.n_positions, None)
        states = []
        for layer in self.layers:
            x = packing.unpack(layer(packing.pack(x), packing)) * real
            states.append(x)
        return states


class Decoder(nn.Module):
    """Text states; words go in and come out by the same matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.out = Linear(config.hidden_size, config.vocab_size)
        table = sinusoids(config.max_t_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def embed(self, words: Tensor, steps: Tensor | int) -> Tensor:
        """P words (P,) at the positions ``steps``, (P,) or the same for all -> (P, D)."""
        weight = self.out.weight
        x = F.embedding(words, weight) * math.sqrt(weight.shape[1])
        return self.dropout(x + self.position_table[steps])

    def forward(self, words: Tensor, steps: Tensor, packing: Packing, video: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Packed words (P,) at positions (P,), and for each layer keys and values of the video -> (P, D)."""
        x = self.embed(words, steps)
        for layer, keys in zip(self.layers, video, strict=True):
            x = layer(x, packing, keys)
        return x


class VanillaTransformer(Captioner):
    """``MTransformer``: each decoder layer looks at the encoder layer of the same depth."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder.out(hidden)

    def label_hidden(self, batch: Batch) -> Tensor:
        packing = Packing(*batch.text.shape, batch.text_rows)
        words, steps = batch.text.flatten()[batch.text_rows], batch.text_rows % packing.length
        x = self.decoder(words, steps, packing, self.video_keys(batch.video, batch.video_lengths))
        return x.index_select(0, packing.find(batch.label_rows))

    def video_keys(self, video: Tensor, lengths: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What each layer of the decoder sees of the clips: keys and values (T, H, v, d)."""
        states = self.encoder(video, lengths)
        packing = Packing(len(video), self.config.max_v_len, None)
        pairs = zip(self.decoder.layers, states, strict=True)
        return [layer.attention.layer.keys(packing.pack(x), packing) for layer, x in pairs]

    def begin(self, video: Tensor, lengths: Tensor, memory: Any) -> VanillaState:
        room, n_heads = self.config.max_t_len, self.config.n_heads
        like = self.decoder.out.weight
        keys = self.video_keys(video, lengths)
        return VanillaState([LayerState(KeyValueCache.empty(len(video), n_heads, room, like), pair) for pair in keys])

    def step(self, state: VanillaState, words: Tensor) -> Tensor:
        x = self.decoder.embed(words, state.length)
        state.length += 1
        for layer, kept in zip(self.decoder.layers, state.layers, strict=True):
            x = layer.extend(x, kept)
        return self.scores(x)
