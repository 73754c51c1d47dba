"""Transformer-XL over joint sequences: every layer also attends to its own inputs at the previous sentence.

A layer's memory is its input at the sentence before, all positions of it, so a layer runs over the sentences of all
steps at once. Positions are relative, and padding is part of the published computation, so sequences keep their full
``max_v_len + max_t_len`` positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.batch import Batch, length_mask
from captioner.config import ModelConfig
from captioner.models.base import Captioner
from captioner.models.blocks import VocabularyHead, init_bert_weights, merge_heads, split_heads
from captioner.models.cache import KeyValueCache, Rows
from captioner.models.embeddings import JointEmbeddings, video_ids
from training.dropout import Dropout
from training.linear import Linear, linear


@dataclass
class SegmentMemory(Rows):
    """The sentence before: what went into each layer, and which positions were real."""

    inputs: list[Tensor]  # n_layers x (R, L, D)
    real: Tensor  # (R, L) bool


def relative_positions(length: int, size: int, device: torch.device) -> Tensor:
    """Rows for the distances ``length - 1, ..., 0``: ``[sin(p w) | cos(p w)]``, (length, size)."""
    rates = 1 / (10000 ** (torch.arange(0, size, 2, device=device) / size))
    angles = torch.arange(length - 1, -1, -1, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def relative_shift(x: Tensor, n_queries: int) -> Tensor:
    """Turn scores by distance into scores by key: ``out[i, j] = x[i, j + n_queries - 1 - i]``.

    Where a key comes later than its query the published shift wraps around into the next row, and video positions do
    look at later video positions, so the wrap is kept.

    Args:
        x: (..., q, K), the first q of ``n_queries`` query rows.
    """
    q, n_keys = x.shape[-2:]
    flat = F.pad(x, (1, 0)).flatten(-2)[..., n_queries:]
    return F.pad(flat, (0, q * n_keys - flat.shape[-1])).unflatten(-1, (q, n_keys))


class RelativeAttention(nn.Module):
    """Attention with relative positions, residual and norm after it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads = config.n_heads
        self.qkv_net = Linear(size, 3 * size, bias=False)
        self.o_net = Linear(size, size, bias=False)
        self.r_net = Linear(size, size, bias=False)
        self.dropout = Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(size)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values (T, H, L, d) of x (T, L, D)."""
        query, key, value = (split_heads(part, self.n_heads) for part in self.qkv_net(x).chunk(3, dim=-1))
        return query, key, value

    def memory_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (T, H, L, d) of a memory (T, L, D)."""
        size = memory.shape[-1]
        key, value = linear(memory, self.qkv_net.weight[size:]).chunk(2, dim=-1)
        return split_heads(key, self.n_heads), split_heads(value, self.n_heads)

    def distances(self, positions: Tensor) -> Tensor:
        """Keys (H, K, d) of relative positions (K, D)."""
        return split_heads(self.r_net(positions)[None], self.n_heads)[0]

    def merge(self, content: Tensor, position: Tensor, value: Tensor, mask: Tensor, x: Tensor) -> Tensor:
        """Output for x (T, Lq, D) from the two kinds of scores (T, H, Lq, K) and values (T, H, K, d)."""
        scores = (content + position) / math.sqrt(value.shape[-1])
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return self.layer_norm(x + self.dropout(self.o_net(merge_heads(weights @ value))))


class FeedForward(nn.Module):
    """``LN(x + Linear(ReLU(Linear(x))))``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.hidden_dropout
        self.CoreNet = nn.Sequential(
            Linear(size, size), nn.ReLU(), Dropout(dropout), Linear(size, size), Dropout(dropout)
        )
        self.layer_norm = nn.LayerNorm(size)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_norm(x + self.CoreNet(x))


class Layer(nn.Module):
    """Relative attention, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dec_attn = RelativeAttention(config)
        self.pos_ff = FeedForward(config)

    def attend(
        self, x: Tensor, memory: Tensor | None, positions: Tensor, mask: Tensor, biases: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The half before `pos_ff`: x (T, L, D), memory (T, L, D) or None, positions (K, D), mask (T, 1, L, K)."""
        attention = self.dec_attn
        query, key, value = attention.project(x)
        if memory is not None:
            memory_key, memory_value = attention.memory_keys(memory)
            key, value = torch.cat([memory_key, key], dim=2), torch.cat([memory_value, value], dim=2)
        content, by_distance = self._scores(query, key, attention.distances(positions), biases)
        return attention.merge(content, relative_shift(by_distance, x.shape[1]), value, mask, x)

    def extend(
        self, x: Tensor, cache: KeyValueCache, distances: Tensor, mask: Tensor, biases: tuple, n_queries: int
    ) -> Tensor:
        """Positions x (R, n, D) behind those in ``cache``.

        ``distances`` (H, K, d) are those of the whole sequence for the video positions, which is why the shift needs
        ``n_queries`` of it; for one text position they are those from the first key to itself, and need no shift.
        """
        query, key, value = self.dec_attn.project(x)
        key, value = cache.append(key, value)
        content, by_distance = self._scores(query, key, distances, biases)
        if x.shape[1] > 1:
            by_distance = relative_shift(by_distance, n_queries)[..., : key.shape[2]]
        return self.pos_ff(self.dec_attn.merge(content, by_distance, value, mask, x))

    @staticmethod
    def _scores(query: Tensor, key: Tensor, distances: Tensor, biases: tuple) -> tuple[Tensor, Tensor]:
        content = (query + biases[0][:, None]) @ key.transpose(-1, -2)
        return content, (query + biases[1][:, None]) @ distances.transpose(-1, -2)


class Encoder(nn.Module):
    """Layers that share the two position biases."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        size = config.hidden_size // config.n_heads
        self.r_w_bias = nn.Parameter(torch.randn(config.n_heads, size) * config.initializer_range)
        self.r_r_bias = nn.Parameter(torch.randn(config.n_heads, size) * config.initializer_range)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.drop = Dropout(config.hidden_dropout)

    @property
    def biases(self) -> tuple[Tensor, Tensor]:
        """Added to queries that look for content, and for distance."""
        return self.r_w_bias, self.r_r_bias

    def positions(self, length: int, like: Tensor) -> Tensor:
        """Relative positions (length, D), dropped out in training."""
        return self.drop(relative_positions(length, like.shape[-1], like.device))


@dataclass
class XlState(Rows):
    """Sentences being written."""

    shared = ("distances", "constants")

    layers: list[KeyValueCache]
    memory_seen: Tensor | None  # (R, L, L) bool, query position by memory position; None without a memory
    video_real: Tensor  # (R, Lv) bool
    distances: list[Tensor]  # n_layers x (H, K, d)
    constants: Tensor  # (Lt, D), see `JointEmbeddings.text_constants`
    length: int = 0


class TransformerXL(Captioner):
    """``xl`` cuts the gradient at the memory, ``xlgrad`` does not."""

    recurrent = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.embeddings = JointEmbeddings(config, positions=False)
        self.encoder = Encoder(config)
        self.decoder = VocabularyHead(config)
        if config.share_wd_cls_weight:
            self.decoder.decoder.weight = self.embeddings.word_embeddings.weight
        init_bert_weights(self, config.initializer_range)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder(hidden)

    def label_hidden(self, batch: Batch) -> Tensor:
        n_text, length = batch.text.shape[1], self.config.max_v_len + self.config.max_t_len
        row, place = batch.label_rows // n_text, batch.label_rows % n_text
        return self.run(batch, wanted=row * length + self.config.max_v_len + place)[0]

    def run(
        self, batch: Batch, memory: SegmentMemory | None = None, wanted: Tensor | None = None
    ) -> tuple[Tensor, SegmentMemory]:
        """Hidden states (T, L, D) of every position, and what the sentences leave for the next ones.

        With ``wanted``, places (K,) in the flattened (T, L), only their hidden states (K, D).
        """
        x, real = self._embed(batch)
        first = slice(0, 0 if memory else batch.step_sizes[0])  # sentences without a memory
        previous = _previous_rows(batch.step_sizes, x.device)
        own = self.self_mask(real)
        before = memory.real if memory else real[previous]
        with_memory = torch.cat([self.memory_mask(before), own[first.stop :]], dim=-1)
        length = x.shape[1]
        positions = self.encoder.positions(2 * length, x)
        x, inputs = self.encoder.drop(x), []
        for i, layer in enumerate(self.encoder.layers):
            inputs.append(x)
            parts = []
            if first.stop:
                args = positions[length:], own[first][:, None], self.encoder.biases
                parts.append(layer.attend(x[first], None, *args))
            if first.stop < len(x):
                kept = memory.inputs[i] if memory else x[previous]
                kept = kept if self.config.model == "xlgrad" else kept.detach()
                args = positions, with_memory[:, None], self.encoder.biases
                parts.append(layer.attend(x[first.stop :], kept, *args))
            x = torch.cat(parts)
            if wanted is not None and i == len(self.encoder.layers) - 1:
                x = x.flatten(0, 1).index_select(0, wanted)
            x = layer.pos_ff(x)
        return self.encoder.drop(x), SegmentMemory(inputs, real)

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """All positions (T, L, D) and which are real (T, L)."""
        n_video, n_text = self.config.max_v_len, self.config.max_t_len
        video = video_ids(batch.video_lengths, n_video - 2)
        ids = torch.cat([video, F.pad(batch.text, (0, n_text - batch.text.shape[1]))], dim=1)
        real = torch.cat(
            [length_mask(batch.video_lengths + 2, n_video), length_mask(batch.text_lengths, n_text)], dim=1
        )
        steps = torch.arange(n_video + n_text, device=ids.device).repeat(len(ids))
        n_features = batch.video.shape[1]
        clip, place = batch.feature_rows // n_features, batch.feature_rows % n_features
        features = batch.video.flatten(0, 1)[batch.feature_rows]
        x = self.embeddings(ids.flatten(), steps, features, clip * ids.shape[1] + place + 1)
        return x.view(*ids.shape, -1), real

    def self_mask(self, real: Tensor) -> Tensor:
        """Within a sentence: real video for all, earlier real text for text; (T, L) -> (T, L, L)."""
        columns = torch.arange(real.shape[1], device=real.device)
        return ((columns < self.config.max_v_len) | (columns <= columns[:, None])) & real[:, None]

    def memory_mask(self, real: Tensor) -> Tensor:
        """Who sees which position of the sentence before: (T, L) its real positions -> (T, L queries, L keys).

        As published ("query"), position i sees all of it if *its* position i was real, and nothing otherwise.
        """
        square = (*real.shape, real.shape[1])
        return (real[:, :, None] if self.config.xl_memory_mask == "query" else real[:, None]).expand(square)

    def begin(self, video: Tensor, lengths: Tensor, memory: SegmentMemory | None) -> XlState:
        n_rows, n_video = len(video), self.config.max_v_len
        n_all = n_video + self.config.max_t_len
        n_memory = n_all if memory else 0
        no_text = video.new_zeros(n_rows, 1, dtype=torch.int64)
        batch = Batch.one_step(video, lengths, no_text, torch.zeros_like(lengths))
        x, real = self._embed(batch)
        x, real = x[:, :n_video], real[:, :n_video]
        positions = self.encoder.positions(n_memory + n_all, x)
        distances = [layer.dec_attn.distances(positions) for layer in self.encoder.layers]
        room, n_heads = n_memory + n_all, self.encoder.n_heads
        caches = [KeyValueCache.empty(n_rows, n_heads, room, x) for _ in distances]
        seen = self.memory_mask(memory.real) if memory else None
        state = XlState(caches, seen, real, distances, self.embeddings.text_constants(self.config.max_t_len))
        mask = real[:, None].expand(-1, n_video, -1)
        if memory:
            mask = torch.cat([seen[:, :n_video], mask], dim=-1)
        for i, layer in enumerate(self.encoder.layers):
            cache = caches[i]
            if memory:
                cache.append(*layer.dec_attn.memory_keys(memory.inputs[i]))
            x = layer.extend(x, cache, distances[i], mask[:, None], self.encoder.biases, n_all)
        return state

    def step(self, state: XlState, words: Tensor) -> Tensor:
        x = self.embeddings.text(words, state.constants[state.length])
        mask = self._step_mask(state)
        n_keys = mask.shape[-1]
        for layer, cache, distances in zip(self.encoder.layers, state.layers, state.distances, strict=True):
            near = distances[:, distances.shape[1] - n_keys :]
            x = layer.extend(x, cache, near, mask, self.encoder.biases, 1)
        state.length += 1
        return self.scores(x[:, 0])

    def _step_mask(self, state: XlState) -> Tensor:
        """(R, 1, 1, n) of the next text position over the memory, the video and the text up to itself."""
        mask = F.pad(state.video_real, (0, state.length + 1), value=True)
        if state.memory_seen is not None:
            mask = torch.cat([state.memory_seen[:, self.config.max_v_len + state.length], mask], dim=1)
        return mask[:, None, None]

    def remember(
        self,
        video: Tensor,
        lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        memory: SegmentMemory | None,
        state: XlState | None = None,
    ) -> SegmentMemory:
        """Inputs of all layers at the sentences ``text`` (R, n)."""
        return self.run(Batch.one_step(video, lengths, text, text_lengths), memory)[1]


def _previous_rows(step_sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """For each sentence after the first of its video, the row of the sentence before."""
    starts = [sum(step_sizes[:s]) for s in range(len(step_sizes))]
    rows = [torch.arange(n) + start for n, start in zip(step_sizes[1:], starts, strict=False)]
    return torch.cat([torch.arange(0), *rows]).to(device)
