"""The COOT model: two networks a modality, one from frames (words) to clips (sentences), one on to the video."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from encoder.config import ModelConfig
from encoder.data.ragged import Batch, Ragged
from encoder.layers import CootLayerNorm, EncoderLayer, PositionalEncoding, norm_linear
from encoder.packing import Layout
from encoder.pooling import (
    AttentionPool,
    FirstPool,
    MaxPool,
    MeanPool,
    PaddedMeanPool,
    StackedAttentionPool,
    truncated_normal_,
)
from training.errors import CootmartError
from training.linear import Linear, rounded

CPU_BLOCK = 4096 * 384
"""numbers that go through a network at once on a CPU, so that what a layer writes is still in the cache for the next"""


@dataclass(frozen=True)
class ModalityOutput:
    """Embeddings of one modality, as they leave the networks (not normalised)."""

    high: Tensor
    """video or paragraph (B, 2D), or (B, D) without the contextual transformer"""
    low: Tensor
    """clips or sentences (N, D), video by video"""
    context: Tensor
    """the whole video or paragraph through the low-level network (B, D)"""


@dataclass(frozen=True)
class CootOutput:
    """Embeddings of a batch of B videos with N clips in all."""

    video: ModalityOutput
    text: ModalityOutput
    clip_num: Tensor
    """clips of each video (B,)"""


def build_pooler(name: str, config: ModelConfig) -> nn.Module:
    """Pooler by its configuration name.

    Raises:
        CootmartError: no pooler has this name.
    """
    af = (config.hidden_size, config.af_hidden, config.af_heads, config.dropout)
    poolers = {
        "af": lambda: AttentionPool(*af) if config.af_layers == 1 else StackedAttentionPool(config.af_layers, *af),
        "max": MaxPool,
        "mean": MeanPool,
        "cls": FirstPool,
        "padded_mean": PaddedMeanPool,
        "padded_mean_all": lambda: PaddedMeanPool(divide_by_width=True),
        "fixed_mean": PaddedMeanPool,
        "fixed_mean_all": lambda: PaddedMeanPool(divide_by_width=True),
    }
    if name not in poolers:
        raise CootmartError(f"pooler: found {name!r}, expected one of {', '.join(poolers)}")
    return poolers[name]()


def blocks(lengths: Tensor, size: int) -> list[int]:
    """How many sequences of ``lengths`` (n,) make a block of about ``size`` tokens; a GPU takes all at once."""
    if lengths.device.type != "cpu":
        return [len(lengths)]
    ends = lengths.cumsum(0)
    count = max(1, round(int(ends[-1]) / size))
    bounds = torch.arange(1, count) * (ends[-1] / count)
    cuts = [0, *torch.searchsorted(ends, bounds).tolist(), len(lengths)]
    return [end - start for start, end in pairwise(cuts) if end > start]


def spare_rows(x: Tensor) -> int:
    """Rows that make those of x (rows, D) a round number: one more sequence, of which nothing is used."""
    return rounded(len(x)) - len(x) if x.device.type == "cpu" else 0


class TransformerStack(nn.Module):
    """Positions, self-attention layers and the optional CLS token that both levels share."""

    def __init__(self, config: ModelConfig, pooler: str) -> None:
        super().__init__()
        size = config.hidden_size
        self.positions = PositionalEncoding(size)
        self.layers = nn.ModuleList(
            EncoderLayer(size, config.heads, config.ff_size, config.dropout) for _ in range(config.layers)
        )
        self.cls = nn.Parameter(torch.zeros(size)) if pooler == "cls" else None

    def _prepend_cls(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        padded = layout.pad(x)
        padded = torch.cat([self.cls.expand(len(padded), 1, -1), padded], 1)
        make = Layout.padded if layout.dense else lambda lengths, _: Layout.packed(lengths)
        longer = make(layout.lengths + 1, layout.width + 1)
        return longer.pack(padded), longer

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        if self.cls is not None:
            x, layout = self._prepend_cls(x, layout)
        x = self.positions(x, layout)
        for layer in self.layers:
            x = layer(x, x, layout, layout)
        return x, layout


class LocalNetwork(nn.Module):
    """Frames to a clip vector, or words to a sentence vector: (n sequences of Dv) -> (n, D)."""

    def __init__(self, input_dim: int, config: ModelConfig) -> None:
        super().__init__()
        self.norm_input = CootLayerNorm(input_dim)
        self.input_fc = Linear(input_dim, config.hidden_size)
        self.transformer = TransformerStack(config, config.local_pooler)
        self.pooler = build_pooler(config.local_pooler, config)
        self.kept_tokens = config.kept_tokens

    def forward(self, *groups: Ragged) -> tuple[Tensor, ...]:
        """Embeddings of each group of sequences; all go through in one batch."""
        if self.pooler.needs_padding:  # up to the longest of its group, as published
            return tuple(self._padded(group) for group in groups)
        order = torch.cat([group.lengths for group in groups]).argsort(stable=True)
        sequences = Ragged.merged(groups, order)  # neighbours of similar length need hardly any padding
        pooled = torch.cat(self._pooled(sequences))
        return pooled.index_select(0, order.argsort()).split([len(group) for group in groups])

    def _pooled(self, sequences: Ragged) -> list[Tensor]:
        """Each block of ``sequences`` -> (n, D)."""
        tokens, size = len(sequences.values), CPU_BLOCK // self.input_fc.out_features
        again = torch.is_grad_enabled() and tokens > self.kept_tokens
        lengths = sequences.lengths.split(blocks(sequences.lengths, size // 2 if again else size))
        rows = [int(part.sum()) for part in lengths] if len(lengths) > 1 else [len(sequences.values)]
        values, left, pooled = sequences.values.split(rows), sum(rows), {}
        for i in sorted(range(len(rows)), key=lambda i: -rows[i]):  # what comes later fits where earlier ones were
            twice = again and len(rows) > 1 and left - rows[i] // 2 > self.kept_tokens
            run = partial(checkpoint, self._packed, use_reentrant=False) if twice else self._packed
            spare = spare_rows(values[i])
            layout = Layout.packed(F.pad(lengths[i], (0, 1), value=spare) if spare else lengths[i])
            pooled[i] = run(self._project(values[i], spare), layout)[: len(lengths[i])]
            left -= rows[i]
        return [pooled[i] for i in range(len(rows))]

    def _packed(self, projected: Tensor, layout: Layout) -> Tensor:
        return self.pooler(*self.transformer(F.gelu(projected), layout))

    def _project(self, values: Tensor, spare: int = 0) -> Tensor:
        return norm_linear(values, self.norm_input, self.input_fc, spare)

    def _padded(self, group: Ragged) -> Tensor:
        width = int(group.lengths.max())
        values = Layout.packed(group.lengths).pad(group.values).flatten(0, 1)
        return self._packed(self._project(values), Layout.padded(group.lengths, width))


class GlobalNetwork(nn.Module):
    """Clips to a video vector, or sentences to a paragraph vector; the contextual transformer of Figure 2.

    Clips stand in a dense (B, C) layout with zero rows as padding, because the published average counts them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.width = config.pad_clips_to if config.global_pooler.startswith("fixed") else 0
        self.norm_input = CootLayerNorm(size)
        self.transformer = TransformerStack(config, config.global_pooler)
        self.pooler = build_pooler(config.global_pooler, config)
        self.context = EncoderLayer(size, config.heads, config.ff_size, config.dropout) if config.context else None

    def forward(self, low: Ragged, context: Tensor, width: int = 0) -> Tensor:
        """Clips (N, D) of B videos and their contexts (B, D) -> (B, 2D): ``[pooled, contextual]``.

        Videos are padded up to the longest of them, or to ``width`` if that is more.
        """
        packed = Layout.packed(low.lengths, max(self.width, width))
        if 0 < self.width < packed.width:
            raise CootmartError(f"model.pad_clips_to: found {self.width}, but a video has {packed.width} clips")
        layout = Layout.padded(low.lengths, packed.width)
        hidden, layout = self.transformer(self.norm_input(packed.pad(low.values).flatten(0, 1)), layout)
        pooled = self.pooler(hidden, layout)
        if self.context is None:
            return pooled
        one = Layout.padded(torch.ones_like(low.lengths), 1)
        return torch.cat([pooled, self.context(context, hidden, one, layout)], -1)


class PairEncoder(nn.Module):
    """What every encoder of this package does: a low and a high network for video, and the same for text."""

    video_local: nn.Module
    video_global: nn.Module
    text_local: nn.Module
    text_global: nn.Module

    def encode_video(self, whole: Ragged, clips: Ragged, clip_num: Tensor, width: int = 0) -> ModalityOutput:
        """Frames of whole videos (B sequences) and of their clips (N sequences) -> embeddings."""
        return self._encode(self.video_local, self.video_global, whole, clips, clip_num, width)

    def encode_text(self, whole: Ragged, sentences: Ragged, sentence_num: Tensor, width: int = 0) -> ModalityOutput:
        """Words of whole paragraphs (B sequences) and of their sentences (N sequences) -> embeddings."""
        return self._encode(self.text_local, self.text_global, whole, sentences, sentence_num, width)

    def encode_high(self, network: nn.Module, low: Ragged, context: Tensor, width: int) -> Tensor:
        """Low-level embeddings of each video and its context (B, D) -> high-level embedding (B, D or 2D)."""
        return network(low, context, width)

    def _encode(self, local, upper, whole: Ragged, parts: Ragged, counts: Tensor, width: int) -> ModalityOutput:
        context, low = local(whole, parts)
        return ModalityOutput(self.encode_high(upper, Ragged(low, counts), context, width), low, context)

    def forward(self, batch: Batch) -> CootOutput:
        video = self.encode_video(batch.vid, batch.clip, batch.clip_num, batch.width)
        text = self.encode_text(batch.par, batch.sent, batch.clip_num, batch.width)
        return CootOutput(video, text, batch.clip_num)


class CootModel(PairEncoder):
    """The hierarchical encoder of both modalities (COOT, Ging et al. 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.video_local = LocalNetwork(config.video_dim, config)
        self.video_global = GlobalNetwork(config)
        self.text_local = LocalNetwork(config.text_dim, config)
        self.text_global = GlobalNetwork(config)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal for every weight and bias, except norms (gain 1, bias 0)."""
        norms = {id(p) for m in self.modules() if isinstance(m, CootLayerNorm) for p in m.parameters()}
        for parameter in self.parameters():
            if id(parameter) not in norms:
                truncated_normal_(parameter, self.config.init_std)


def build_model(config: ModelConfig) -> PairEncoder:
    """The encoder that ``config.network`` names.

    Raises:
        CootmartError: there is no such network.
    """
    from encoder.hse import HseModel  # it builds on this module

    networks = {"coot": CootModel, "hse": HseModel}
    if config.network not in networks:
        raise CootmartError(f"model.network: found {config.network!r}, expected one of {', '.join(networks)}")
    return networks[config.network](config)
