"""The parts that MART and its relatives are made of. Parameter names are the published ones."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from captioner.config import ModelConfig
from captioner.models.cache import KeyValueCache
from captioner.models.packing import Packing, pick
from training.dropout import Dropout, attention
from training.linear import Linear, linear


def sinusoids(length: int, size: int) -> Tensor:
    """Position table (length, size): ``sin(p w_i)`` in column 2i, ``cos(p w_i)`` in 2i+1, w_i = 10000^(-2i/size)."""
    rates = torch.exp(torch.arange(0, size, 2) * -(math.log(10000.0) / size))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def layer_norm(config: ModelConfig) -> nn.LayerNorm:
    """Norm over the hidden size with the (tiny) eps of the configuration."""
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def projection(n_in: int, config: ModelConfig) -> nn.Sequential:
    """Input features to the hidden size: norm, dropout, linear, ReLU, norm."""
    return nn.Sequential(
        nn.LayerNorm(n_in, eps=config.layer_norm_eps),
        Dropout(config.hidden_dropout),
        Linear(n_in, config.hidden_size),
        nn.ReLU(),
        layer_norm(config),
    )


def joint_linear(x: Tensor, *layers: nn.Linear) -> Tensor:
    """Outputs of several linear layers on the same input side by side, in training by one matrix product.

    That copies the weights, which only the many rows of a training batch are worth.
    """
    if not torch.is_grad_enabled():
        return torch.cat([layer(x) for layer in layers], dim=-1)
    return linear(x, *side_by_side(*layers))


def side_by_side(*layers: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight (m, n) and bias (m,) of the layers' outputs side by side."""
    return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """(T, L, D) -> (T, H, L, D/H)."""
    return rearrange(x, "t l (h d) -> t h l d", h=n_heads)


def merge_heads(x: Tensor) -> Tensor:
    """(T, H, L, D/H) -> (T, L, D)."""
    return rearrange(x, "t h l d -> t l (h d)")


class Joinable(nn.Module, ABC):
    """A block that can do several of its products as one, where there is time to make a weight for that."""

    joint: tuple[Tensor, Tensor] | None = None
    """weight and bias of that product, while words are written"""

    @abstractmethod
    def joint_weights(self) -> tuple[Tensor, Tensor]:
        """Weight (m, n) and bias (m,) that do what the separate ones do."""


class Attention(Joinable):
    """Multi-head scaled dot-product attention without output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.dropout = config.n_heads, config.attention_dropout
        self.query = Linear(config.hidden_size, config.hidden_size)
        self.key = Linear(config.hidden_size, config.hidden_size)
        self.value = Linear(config.hidden_size, config.hidden_size)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Merge values of projected inputs.

        Args:
            query: (T, H, Lq, D/H); key, value: (T, H, Lk, D/H).
            mask: bool, broadcastable to (T, H, Lq, Lk), True where a query may look; None where it may everywhere.

        Returns:
            (T, Lq, D).
        """
        return merge_heads(self.look(query, key, value, mask))

    def look(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """`attend` with the heads (T, H, Lq, D/H) still apart."""
        return attention(query, key, value, mask, self.dropout if self.training else 0.0)

    def queries(self, x: Tensor) -> Tensor:
        """Projected queries (T, H, L, D/H) of x (T, L, D)."""
        return split_heads(self.query(x), self.n_heads)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Projected keys and values (T, H, L, D/H) of x (T, L, D)."""
        return split_heads(self.key(x), self.n_heads), split_heads(self.value(x), self.n_heads)

    def all(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Projected queries, keys and values (T, H, L, D/H) of x (T, L, D)."""
        joint = self.joint
        if joint is None:
            return self.queries(x), *self.keys(x)
        return tuple(rearrange(linear(x, *joint), "t l (k h d) -> k t h l d", k=3, h=self.n_heads))

    def joint_weights(self) -> tuple[Tensor, Tensor]:
        """Of queries, keys and values side by side: (3 D, D) and (3 D,)."""
        return side_by_side(self.query, self.key, self.value)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from query (T, Lq, D) to memory (T, Lk, D)."""
        return self.attend(self.queries(query), *self.keys(memory), mask)

    def summarize(self, query: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """What `forward` gives, for few queries (T, Lq, D) to many positions x (T, L, D), which are not projected.

        The key's weights go into the queries (its bias adds the same to all scores of a query), the value's come after
        merging. mask (T, 1, 1, L); there is no dropout.
        """
        weights = (layer.weight.unflatten(0, (self.n_heads, -1)) for layer in (self.key, self.value))  # (H, d, D)
        key_weight, value_weight = weights
        query = self.queries(query)  # (T, H, Lq, d)
        query = torch.einsum("thqd,hdn->thqn", query / query.shape[-1] ** 0.5, key_weight)
        scores = torch.einsum("thqn,tln->thql", query, x).masked_fill(~mask, -torch.inf)
        merged = torch.einsum("thql,tln->thqn", scores.softmax(dim=-1), x)
        return torch.einsum("thqn,hdn->tqhd", merged, value_weight).flatten(2) + self.value.bias


class Output(nn.Module):
    """``LN(dropout(Linear(x)) + residual)``."""

    def __init__(self, n_in: int, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(n_in, config.hidden_size)
        self.LayerNorm = layer_norm(config)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.add(self.dense(x), residual)

    def add(self, dense: Tensor, residual: Tensor) -> Tensor:
        """`forward` from what `dense` gave."""
        return self.LayerNorm(self.dropout(dense) + residual)


class AttentionBlock(nn.Module):
    """Self-attention with projection, residual and norm after it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self = Attention(config)
        self.output = Output(config.hidden_size, config)

    def forward(self, x: Tensor, packing: Packing, mask: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Packed rows (P, D) to packed rows, all or only ``wanted`` (K,); mask broadcastable to (T, H, L, L)."""
        attention = self.self
        projected = joint_linear(x, attention.query, attention.key, attention.value)
        heads = packing.split_heads(projected, attention.n_heads, 3)
        return self.output(*pick(wanted, packing.merge_heads(attention.look(*heads, mask)), x))

    def extend(self, x: Tensor, cache: KeyValueCache, mask: Tensor | None) -> Tensor:
        """The next positions x (R, n, D) of sequences whose earlier ones are in ``cache``."""
        query, key, value = self.self.all(x)
        return self.output(self.self.attend(query, *cache.append(key, value), mask), x)


class Intermediate(nn.Module):
    """``gelu(Linear(x))``, hidden size to intermediate size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class VocabularyHead(nn.Module):
    """Scores of all words: ``LN(gelu(Linear(h))) W^T + b``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = nn.ModuleDict(
            {"dense": Linear(config.hidden_size, config.hidden_size), "LayerNorm": layer_norm(config)}
        )
        self.decoder = Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        hidden = self.transform["LayerNorm"](F.gelu(self.transform["dense"](hidden)))
        return self.decoder.times(hidden, self.bias)


@torch.no_grad()
def init_bert_weights(module: nn.Module, std: float) -> None:
    """Normal weights for every linear and embedding ([PAD] row included), zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.weight.normal_(0.0, std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            part.bias.zero_()
