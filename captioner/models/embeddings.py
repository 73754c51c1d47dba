"""Inputs of the joint models: words and video features of one sequence, in one space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.config import ModelConfig
from captioner.models.blocks import layer_norm, projection, sinusoids
from captioner.vocabulary import CLS, PAD, SEP, VID
from training.dropout import Dropout


class WordEmbeddings(nn.Module):
    """Word vectors and their projection; [PAD] gets no gradient."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.word_vec_size, padding_idx=PAD)
        self.word_fc = projection(config.word_vec_size, config)

    def words(self, ids: Tensor) -> Tensor:
        """(...) int64 -> (..., D)."""
        return self.word_fc(self.word_embeddings(ids))


class JointEmbeddings(WordEmbeddings):
    """``LN(word + video + token type [+ position])`` of ``[CLS] video [SEP] | [BOS] words [EOS]``.

    Positions without a video feature get the video branch of a zero vector, which is the same for all of them and
    computed once.
    """

    def __init__(self, config: ModelConfig, positions: bool = True) -> None:
        super().__init__(config)
        self.text_start = config.max_v_len
        self.video_embeddings = projection(config.video_feature_size, config)
        self.token_type_embeddings = nn.Embedding(2, config.hidden_size)
        self.LayerNorm = layer_norm(config)
        self.dropout = Dropout(config.hidden_dropout)
        table = sinusoids(config.max_v_len + config.max_t_len, config.hidden_size) if positions else None
        self.register_buffer("position_table", table, persistent=False)

    def forward(self, ids: Tensor, steps: Tensor, features: Tensor, places: Tensor) -> Tensor:
        """Embed P positions.

        Args:
            ids: (P,) tokens.
            steps: (P,) positions in the full joint sequence, text from ``max_v_len`` on.
            features: (F, Dv) video features.
            places: (F,) the row among the P of each feature.

        Returns:
            (P, D).
        """
        nothing = self.video_embeddings(features.new_zeros(1, features.shape[-1]))  # (1, D)
        video = self.video_embeddings(features)
        video = nothing.to(video.dtype).expand(len(ids), -1).index_copy(0, places, video)
        types = F.embedding((steps >= self.text_start).long(), self.token_type_embeddings.weight)
        return self._finish(self.words(ids) + video + types, steps)

    def text_constants(self, n: int) -> Tensor:
        """What the first ``n`` text positions add to any word: (n, D)."""
        weight = self.video_embeddings[2].weight
        nothing = self.video_embeddings(weight.new_zeros(1, weight.shape[1]))
        x = (nothing + self.token_type_embeddings.weight[1]).expand(n, -1)
        return x if self.position_table is None else x + self.position_table[self.text_start : self.text_start + n]

    def text(self, ids: Tensor, constant: Tensor) -> Tensor:
        """The next word of R sequences: (R,) and the position's row of `text_constants` (D,) -> (R, 1, D)."""
        return self.dropout(self.LayerNorm(self.words(ids) + constant))[:, None]

    def _finish(self, x: Tensor, steps: Tensor) -> Tensor:
        if self.position_table is not None:
            x = x + self.position_table[steps]
        return self.dropout(self.LayerNorm(x))


def video_ids(lengths: Tensor, longest: int) -> Tensor:
    """``[CLS] [VID]*v [SEP] [PAD]*`` (T, longest + 2) for clips of ``lengths`` (T,) features."""
    columns = torch.arange(longest + 2, device=lengths.device)
    ids = torch.where(columns <= lengths[:, None], VID, PAD)
    ids[:, 0] = CLS
    return ids.masked_fill_(columns == lengths[:, None] + 1, SEP)
