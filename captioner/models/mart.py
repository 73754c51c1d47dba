"""MART: the joint transformer whose layers carry a memory from sentence to sentence (Lei et al., ACL 2020).

The memory of a layer depends on that layer's own hidden states alone, so a layer runs over the sentences of all
steps at once and only the small memory update goes step by step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.batch import Batch, length_mask
from captioner.config import ModelConfig
from captioner.models.blocks import (
    Attention,
    AttentionBlock,
    Intermediate,
    Joinable,
    Output,
    init_bert_weights,
    joint_linear,
)
from captioner.models.cache import KeyValueCache, Rows
from captioner.models.joint import JointCaptioner, JointInput, JointState
from captioner.models.packing import pick
from training.dropout import Dropout
from training.linear import Linear, linear, product


class MemoryInitializer(nn.Module):
    """First memory: the mean video state, once a cell with the cell's own (scalar) offset."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.init_memory_bias = nn.Parameter(torch.randn(1, config.n_memory_cells, 1))
        self.init_memory_fc = nn.Sequential(
            Linear(config.hidden_size, config.hidden_size),
            nn.LayerNorm(config.hidden_size, eps=1e-12),
            Dropout(config.memory_dropout),
        )

    def forward(self, hidden: Tensor, real: Tensor | None) -> Tensor:
        """Video states (R, v + 2, D), real positions (R, v + 2) or None for all -> (R, M, D)."""
        if real is None:
            pooled = hidden.mean(dim=1, keepdim=True)
        else:
            weights = real.to(hidden.dtype) / real.sum(dim=1, keepdim=True)
            pooled = weights[:, None] @ hidden  # (R, 1, D)
        return self.init_memory_fc(pooled + self.init_memory_bias)


class MemoryUpdater(nn.Module):
    """Gated update: ``c = tanh(W m + U s)``, ``z = sigmoid(W' m + U' s)``, ``m' = (1 - z) c + z m``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.memory_update_attention = Attention(config)
        self.mc = Linear(size, size, bias=False)
        self.sc = Linear(size, size)
        self.mz = Linear(size, size, bias=False)
        self.sz = Linear(size, size)

    def forward(self, memory: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Memory (R, M, D) after sentences with ``key`` and ``value`` (R, H, L, D/H), mask (R, 1, 1, L)."""
        attention = self.memory_update_attention
        return self._mix(memory, attention.attend(attention.queries(memory), key, value, mask))

    def after(self, memory: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """The same from the ``states`` (R, L, D) that keys and values are made of."""
        return self._mix(memory, self.memory_update_attention.summarize(memory, states, mask))

    def _mix(self, memory: Tensor, summary: Tensor) -> Tensor:
        candidate = (self.mc(memory) + self.sc(summary)).tanh()
        gate = (self.mz(memory) + self.sz(summary)).sigmoid()
        return candidate + gate * (memory - candidate)


@dataclass
class Hidden(Rows):
    """States of all positions of all sentences, for the memory update; sentences that have ended can leave `rows`."""

    shared = ("memory", "states")

    memory: Tensor  # (R, M, D) before the sentences
    states: Tensor  # (R, room, D)
    rows: Tensor  # (R',) int64, the sentences still being written
    length: int = 0

    def append(self, h: Tensor) -> None:
        """The next positions (R', n, D)."""
        self.states[:, self.length : self.length + h.shape[1]].index_copy_(0, self.rows, h)
        self.length += h.shape[1]


@dataclass
class LayerState(Rows):
    """What a layer keeps of a sentence being written."""

    self_attention: KeyValueCache
    augmented: KeyValueCache  # the memory cells, then the positions
    hidden: Hidden


class Layer(Joinable):
    """Self-attention, expansion, then attention to ``[memory; states]``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.attention = AttentionBlock(config)
        self.hidden_intermediate = Intermediate(config)
        self.memory_initializer = MemoryInitializer(config)
        self.memory_updater = MemoryUpdater(config)
        self.memory_augmented_attention = Attention(config)
        self.memory_projection = Linear(config.intermediate_size, config.hidden_size)
        self.output = Output(config.hidden_size, config)

    def forward(
        self,
        x: Tensor,
        joint: JointInput,
        steps: tuple[slice, ...],
        memory: Tensor | None,
        wanted: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All sentences of all steps.

        Args:
            x: (P, D) packed.
            steps: rows of each sentence step; later steps continue the first videos of earlier ones.
            memory: (B, M, D) before the first step, None to initialise it from the video.
            wanted: (K,) rows of x whose output is of use, None for all.

        Returns:
            out (P, D) or (K, D), and the memory after each sentence (T, M, D).
        """
        a = self.attention(x, joint.packing, joint.mask)
        h = self.hidden_intermediate(a)
        attend, update = self.memory_augmented_attention, self.memory_updater.memory_update_attention
        projected = joint_linear(h, attend.query, attend.key, attend.value, update.key, update.value)
        query, key, value, *update_keys = joint.packing.split_heads(projected, self.n_heads, 5)
        if memory is None:
            memory = self._first_memory(h, joint, steps[0])
        before, after = self._memories(memory, update_keys, joint.key_mask, steps)
        r = joint.packing.merge_heads(self._look_with_memory(before, query, key, value, joint.mask))
        r, a = pick(wanted, r, a)
        return self.output(self.memory_projection(r), a), after

    def remember(self, x: Tensor, joint: JointInput, memory: Tensor | None) -> Tensor:
        """Only the memory (R, M, D) after R sentences, x (P, D) packed."""
        h = self.hidden_intermediate(self.attention(x, joint.packing, joint.mask))
        if memory is None:
            memory = self._first_memory(h, joint, slice(0, joint.packing.n_sequences))
        return self.memory_updater.after(memory, joint.packing.unpack(h), joint.key_mask)

    def _first_memory(self, h: Tensor, joint: JointInput, rows: slice) -> Tensor:
        hidden = joint.packing.unpack(h)[rows, : joint.n_video]
        return self.memory_initializer(hidden, None if joint.video_mask is None else joint.video_mask[rows])

    def _memories(
        self, memory: Tensor, keys: list[Tensor], mask: Tensor, steps: tuple[slice, ...]
    ) -> tuple[Tensor, Tensor]:
        """Memory before and after each sentence, both (T, M, D)."""
        before, after = [], []
        for rows in steps:
            memory = memory[: rows.stop - rows.start]
            before.append(memory)
            memory = self.memory_updater(memory, keys[0][rows], keys[1][rows], mask[rows])
            after.append(memory)
        return torch.cat(before), torch.cat(after)

    def _look_with_memory(self, memory: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        memory_key, memory_value = self.memory_augmented_attention.keys(memory)
        key = torch.cat([memory_key, key], dim=2)
        value = torch.cat([memory_value, value], dim=2)
        mask = F.pad(mask, (memory.shape[1], 0), value=True)  # every position sees the memory
        return self.memory_augmented_attention.look(query, key, value, mask)

    def begin(self, x: Tensor, real: Tensor | None, room: int, memory: Tensor | None) -> tuple[Tensor, LayerState]:
        """The video positions (R, v + 2, D) of new sentences."""
        mask = None if real is None else real[:, None, None]
        n_cells = self.memory_initializer.init_memory_bias.shape[1]
        cache = KeyValueCache.empty(len(x), self.n_heads, room, x)
        a = self.attention.extend(x, cache, mask)
        h = self.hidden_intermediate(a)
        memory = self.memory_initializer(h, real) if memory is None else memory
        augmented = KeyValueCache.empty(len(x), self.n_heads, room + n_cells, x)
        augmented.append(*self.memory_augmented_attention.keys(memory))
        hidden = Hidden(memory, h.new_zeros(len(h), room, h.shape[-1]), torch.arange(len(h), device=h.device))
        state = LayerState(cache, augmented, hidden)
        return self._augment(a, h, state, None if mask is None else F.pad(mask, (n_cells, 0), value=True)), state

    def extend(self, x: Tensor, state: LayerState, mask: Tensor | None) -> Tensor:
        """One more text position (R, 1, D); mask (R, 1, 1, n) over the positions so far."""
        a = self.attention.extend(x, state.self_attention, mask)
        n_cells = self.memory_initializer.init_memory_bias.shape[1]
        mask = None if mask is None else F.pad(mask, (n_cells, 0), value=True)
        return self._augment(a, self.hidden_intermediate(a), state, mask)

    def update(self, state: LayerState, mask: Tensor) -> Tensor:
        """Memory (R, M, D) after the sentences in ``state``, mask (R, 1, 1, n) of their real positions."""
        return self.memory_updater.after(state.hidden.memory, state.hidden.states[:, : mask.shape[-1]], mask)

    def _augment(self, a: Tensor, h: Tensor, state: LayerState, mask: Tensor | None) -> Tensor:
        state.hidden.append(h)
        query, key, value = self.memory_augmented_attention.all(h)
        r = self.memory_augmented_attention.attend(query, *state.augmented.append(key, value), mask)
        joint = self.joint
        return self.output(self.memory_projection(r), a) if joint is None else self.output.add(linear(r, *joint), a)

    def joint_weights(self) -> tuple[Tensor, Tensor]:
        """Of the memory's projection and the output's: there is nothing between them."""
        first, then = self.memory_projection, self.output.dense
        with torch.autocast(then.weight.device.type, enabled=False):
            return product(then.weight, first.weight), then.weight @ first.bias + then.bias


class Encoder(nn.Module):
    """Layers one after the other, each with its own memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.n_layers))

    def forward(
        self,
        x: Tensor,
        joint: JointInput,
        steps: tuple[slice, ...],
        memory: list[Tensor] | None,
        wanted: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Hidden states (P, D) or those ``wanted`` (K,), and of each layer the memory (T, M, D) after each sentence."""
        after, last = [], self.layer[-1]
        for layer, before in zip(self.layer, memory or [None] * len(self.layer), strict=True):
            x, new = layer(x, joint, steps, before, wanted if layer is last else None)
            after.append(new)
        return x, after

    def remember(self, x: Tensor, joint: JointInput, memory: list[Tensor] | None) -> list[Tensor]:
        """Of each layer the memory (R, M, D) after R sentences, x (P, D) packed."""
        *first, last = zip(self.layer, memory or [None] * len(self.layer), strict=True)
        after, rows = [], (slice(0, joint.packing.n_sequences),)
        for layer, before in first:
            x, new = layer(x, joint, rows, before)
            after.append(new)
        return [*after, last[0].remember(x, joint, last[1])]

    def begin(self, x: Tensor, real: Tensor | None, room: int, memory: list[Tensor] | None) -> list[LayerState]:
        """States of the layers after the video positions x (R, v + 2, D)."""
        states = []
        for layer, before in zip(self.layer, memory or [None] * len(self.layer), strict=True):
            x, state = layer.begin(x, real, room, before)
            states.append(state)
        return states

    def extend(self, x: Tensor, state: JointState) -> Tensor:
        """One more text position (R, 1, D)."""
        for layer, kept in zip(self.layer, state.layers, strict=True):
            x = layer.extend(x, kept, state.key_mask(kept.self_attention.length + 1))
        return x


class Mart(JointCaptioner):
    """Memory-augmented recurrent transformer."""

    recurrent = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        init_bert_weights(self, config.initializer_range)

    def label_hidden(self, batch: Batch) -> Tensor:
        x, joint = self.embed(batch)
        return self.encoder(x, joint, batch.step_rows, None, self.label_rows(batch, joint.packing))[0]

    def remember(
        self,
        video: Tensor,
        lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        memory: list[Tensor] | None,
        state: JointState | None = None,
    ) -> list[Tensor]:
        """Memory (R, M, D) of each layer after the sentences ``text`` (R, n)."""
        if state is not None:
            return self._remember_written(state, text, text_lengths)
        batch = Batch.one_step(video, lengths, text, text_lengths)
        x, joint = self.embed(batch)
        return self.encoder.remember(x, joint, memory)

    def _remember_written(self, state: JointState, text: Tensor, lengths: Tensor) -> list[Tensor]:
        rows = state.layers[0].hidden.rows
        for word in text.T[state.length :]:  # the last one has been chosen, but not been read
            self.extend(state, word[rows])
        mask = torch.cat([state.video_mask, length_mask(lengths, text.shape[1])], dim=1)[:, None, None]
        return [layer.update(kept, mask) for layer, kept in zip(self.encoder.layer, state.layers, strict=True)]
