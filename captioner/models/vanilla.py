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
from captioner.models.blocks import merge_heads, sinusoids, split_heads
from captioner.models.cache import KeyValueCache, Rows
from training.dropout import Dropout, attention


class LayerNorm(nn.Module):
    """``gamma (x - mean) / (std + 1e-6) + beta`` with the unbiased standard deviation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(size))
        self.beta = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        return self.gamma * centred / (x.std(dim=-1, keepdim=True) + 1e-6) + self.beta


class MultiHead(nn.Module):
    """Attention without biases whose scores are divided by the root of the full width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads, self.dropout, self.scale = config.n_heads, config.attention_dropout, size**-0.5
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(size, size, bias=False) for _ in range(4))

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (T, H, L, d) of x (T, L, D)."""
        return split_heads(self.wk(x), self.n_heads), split_heads(self.wv(x), self.n_heads)

    def forward(self, x: Tensor, keys: tuple[Tensor, Tensor], causal: bool = False) -> Tensor:
        """Attend from x (T, Lq, D) to keys and values (T, H, Lk, d)."""
        query = split_heads(self.wq(x), self.n_heads)
        dropout = self.dropout if self.training else 0.0
        out = attention(query, *keys, p=dropout, causal=causal, scale=self.scale)
        return self.wo(merge_heads(out))


class FeedForward(nn.Module):
    """``Linear(ReLU(Linear(x)))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.linear2 = nn.Linear(config.intermediate_size, config.hidden_size)

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

    def forward(self, x: Tensor) -> Tensor:
        return self.feedforward(self.selfattn(x, self.selfattn.layer.keys(x)))


class DecoderLayer(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.selfattn = Residual(MultiHead(config), config)
        self.attention = Residual(MultiHead(config), config)
        self.feedforward = Residual(FeedForward(config), config)

    def forward(self, x: Tensor, video: Tensor) -> Tensor:
        """Text x (T, n, D) over the video states (T, v, D) of the encoder layer of the same depth."""
        x = self.selfattn(x, self.selfattn.layer.keys(x), True)
        return self.feedforward(self.attention(x, self.attention.layer.keys(video)))

    def extend(self, x: Tensor, state: LayerState) -> Tensor:
        """One more position (R, 1, D)."""
        keys = state.text.append(*self.selfattn.layer.keys(x))
        return self.feedforward(self.attention(self.selfattn(x, keys), state.video))


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
            nn.Linear(config.video_feature_size, config.hidden_size),
        )
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        table = sinusoids(config.max_v_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def forward(self, video: Tensor, lengths: Tensor) -> list[Tensor]:
        """(T, v, Dv) -> n_layers x (T, max_v_len, D)."""
        video = F.pad(video, (0, 0, 0, self.n_positions - video.shape[1]))
        real = length_mask(lengths, self.n_positions)[..., None].to(video.dtype)
        x = self.dropout(self.video_embeddings(video) + self.position_table) * real
        states = []
        for layer in self.layers:
            x = layer(x) * real
            states.append(x)
        return states


class Decoder(nn.Module):
    """Text states; words go in and come out by the same matrix."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.out = nn.Linear(config.hidden_size, config.vocab_size)
        table = sinusoids(config.max_t_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def embed(self, text: Tensor, start: int = 0) -> Tensor:
        """(T, n) words from position ``start`` on -> (T, n, D)."""
        weight = self.out.weight
        x = F.embedding(text, weight) * math.sqrt(weight.shape[1])
        return self.dropout(x + self.position_table[start : start + text.shape[1]])

    def forward(self, text: Tensor, video: list[Tensor]) -> Tensor:
        x = self.embed(text)
        for layer, states in zip(self.layers, video, strict=True):
            x = layer(x, states)
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
        video = self.encoder(batch.video, batch.video_lengths)
        return self.decoder(batch.text, video).flatten(0, 1)[batch.label_rows]

    def begin(self, video: Tensor, lengths: Tensor, memory: Any) -> VanillaState:
        states = self.encoder(video, lengths)
        room, n_heads = self.config.max_t_len, self.config.n_heads
        pairs = zip(self.decoder.layers, states, strict=True)
        return VanillaState(
            [
                LayerState(KeyValueCache.empty(len(x), n_heads, room, x), layer.attention.layer.keys(x))
                for layer, x in pairs
            ]
        )

    def step(self, state: VanillaState, words: Tensor) -> Tensor:
        x = self.decoder.embed(words[:, None], state.length)
        state.length += 1
        for layer, kept in zip(self.decoder.layers, state.layers, strict=True):
            x = layer.extend(x, kept)
        return self.scores(x[:, 0])
