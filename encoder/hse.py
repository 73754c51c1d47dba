"""Hierarchical sequence embedding (Zhang, Hu and Sha, ECCV 2018), the baseline of the COOT paper.

Two GRUs a modality with max pooling over time: frames (words) to a clip (sentence), those on to the video (paragraph).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from encoder.config import ModelConfig
from encoder.data.ragged import Ragged
from encoder.model import PairEncoder
from encoder.packing import Layout
from encoder.pooling import MaxPool
from training.dropout import Dropout


class GruNetwork(nn.Module):
    """n sequences of width ``input_dim`` -> (n, D): a GRU, then the largest value of each column over time."""

    def __init__(self, input_dim: int, config: ModelConfig) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.pooler = MaxPool()

    def forward(self, *groups: Ragged) -> tuple[Tensor, ...]:
        """Embeddings of each group of sequences."""
        return tuple(self._embed(group) for group in groups)

    def _embed(self, sequences: Ragged) -> Tensor:
        packed = pack_sequence(sequences.split(), enforce_sorted=False)
        hidden, _ = self.gru(PackedSequence(self.dropout(packed.data), *packed[1:]))
        return self.pooler(_back_to_back(hidden, sequences.lengths), Layout.packed(sequences.lengths))


def _back_to_back(hidden: PackedSequence, lengths: Tensor) -> Tensor:
    """Rows of a time-major `PackedSequence` in the order of `Ragged`: sequence by sequence."""
    order = Layout.packed(lengths)
    rank = hidden.unsorted_indices.repeat_interleave(lengths)  # (total,) place among the sorted sequences
    starts = hidden.batch_sizes.cumsum(0).to(rank.device) - hidden.batch_sizes.to(rank.device)
    return hidden.data[starts[order.positions] + rank]


class HseModel(PairEncoder):
    """HSE with the outputs of `encoder.model.CootModel`; context embeddings are the whole sequence through the
    low-level GRU, and video embeddings are (B, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.video_local = GruNetwork(config.video_dim, config)
        self.video_global = GruNetwork(config.hidden_size, config)
        self.text_local = GruNetwork(config.text_dim, config)
        self.text_global = GruNetwork(config.hidden_size, config)

    def encode_high(self, network: nn.Module, low: Ragged, context: Tensor, width: int) -> Tensor:
        """Clips of each video -> (B, D); neither the context nor padding plays a part."""
        return network(low)[0]
