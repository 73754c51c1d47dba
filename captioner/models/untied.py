"""MART's blocks as a separate video encoder and text decoder (the "untied" variant of the published code)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captioner.batch import Batch, length_mask
from captioner.config import ModelConfig
from captioner.models.base import Captioner
from captioner.models.blocks import (
    Attention,
    Output,
    VocabularyHead,
    init_bert_weights,
    layer_norm,
    projection,
    sinusoids,
)
from captioner.models.cache import KeyValueCache, Rows, causal
from captioner.models.embeddings import WordEmbeddings
from captioner.models.norec import Encoder
from captioner.models.packing import Packing


class VideoEmbeddings(nn.Module):
    """Projected features plus positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.video_embeddings = projection(config.video_feature_size, config)
        table = sinusoids(config.max_v_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        """(T, v, Dv) -> (T, v, D)."""
        return self.video_embeddings(video) + self.position_table[: video.shape[1]]


class TextEmbeddings(WordEmbeddings):
    """Projected word vectors plus positions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        table = sinusoids(config.max_t_len, config.hidden_size)
        self.register_buffer("position_table", table, persistent=False)

    def forward(self, text: Tensor, start: int = 0) -> Tensor:
        """(T, n) words from position ``start`` on -> (T, n, D)."""
        return self.words(text) + self.position_table[start : start + text.shape[1]]


@dataclass
class LayerState(Rows):
    text: KeyValueCache
    video: tuple[Tensor, Tensor]  # keys and values (R, H, v, d)


@dataclass
class UntiedState(Rows):
    layers: list[LayerState]
    video_mask: Tensor | None  # (R, 1, 1, v) bool
    length: int = 0


class DecoderLayer(nn.Module):
    """Self-attention and attention to the video, each with residual and norm, then one projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = Attention(config)
        self.norm1 = layer_norm(config)
        self.dec_enc_attention = Attention(config)
        self.norm2 = layer_norm(config)
        self.output = Output(config.hidden_size, config)

    def forward(self, x: Tensor, video: Tensor, video_mask: Tensor | None) -> Tensor:
        """Text x (T, n, D) over video states (T, v, D)."""
        mask = causal(x.shape[1], 0, x.device)
        a = self.norm1(self.self_attention(x, x, mask) + x)
        return self._finish(a, self.dec_enc_attention.keys(video), video_mask)

    def extend(self, x: Tensor, state: LayerState, video_mask: Tensor | None) -> Tensor:
        """One more position (R, 1, D)."""
        query, key, value = self.self_attention.all(x)
        key, value = state.text.append(key, value)
        a = self.norm1(self.self_attention.attend(query, key, value, None) + x)
        return self._finish(a, state.video, video_mask)

    def _finish(self, a: Tensor, video: tuple[Tensor, Tensor], video_mask: Tensor | None) -> Tensor:
        attention = self.dec_enc_attention
        b = self.norm2(attention.attend(attention.queries(a), *video, video_mask) + a)
        return self.output(b, b)


class Decoder(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))


class UntiedTransformer(Captioner):
    """``NonRecurTransformerUntied``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.embeddings = TextEmbeddings(config)
        self.video_embeddings = VideoEmbeddings(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.decoder_classifier = VocabularyHead(config)
        if config.share_wd_cls_weight:
            self.decoder_classifier.decoder.weight = self.embeddings.word_embeddings.weight
        init_bert_weights(self, config.initializer_range)

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder_classifier(hidden)

    def encode(self, video: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Video states (T, v, D) and mask (T, 1, 1, v) of the real ones."""
        x = self.video_embeddings(video)
        mask = length_mask(lengths, video.shape[1])[:, None, None]
        packing = Packing(*video.shape[:2], None)
        x = packing.pack(x)
        for layer in self.encoder.layer:
            x = layer(x, packing, mask)
        return packing.unpack(x), mask

    def label_hidden(self, batch: Batch) -> Tensor:
        video, mask = self.encode(batch.video, batch.video_lengths)
        x = self.embeddings(batch.text)
        for layer in self.decoder.layer:
            x = layer(x, video, mask)
        return x.flatten(0, 1)[batch.label_rows]

    def begin(self, video: Tensor, lengths: Tensor, memory: Any) -> UntiedState:
        x, mask = self.encode(video, lengths)
        room, n_heads = self.config.max_t_len, self.config.n_heads
        layers = [
            LayerState(KeyValueCache.empty(len(x), n_heads, room, x), layer.dec_enc_attention.keys(x))
            for layer in self.decoder.layer
        ]
        return UntiedState(layers, mask)

    def step(self, state: UntiedState, words: Tensor) -> Tensor:
        x = self.embeddings(words[:, None], state.length)
        state.length += 1
        for layer, kept in zip(self.decoder.layer, state.layers, strict=True):
            x = layer.extend(x, kept, state.video_mask)
        return self.scores(x[:, 0])
