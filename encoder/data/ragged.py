"""Sequences of different lengths without padding: the form in which batches travel from the files to the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """``n`` sequences back to back.

    Attributes:
        values: (total, D) the rows of the first sequence, then of the second, ...; total = ``lengths.sum()``.
        lengths: (n,) int64.
    """

    values: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def cat(cls, sequences: Sequence[np.ndarray | Tensor]) -> Ragged:
        """Join a non-empty list of (T_i, D) arrays or tensors. Half precision becomes float32.

        By numpy: torch would start threads for the thread that loads ahead, and with more threads than cores those
        that compute fall asleep between any two operations.
        """
        arrays = [np.asarray(sequence) for sequence in sequences]
        lengths = torch.tensor([len(array) for array in arrays], dtype=torch.int64)
        return cls(torch.from_numpy(np.concatenate(arrays, dtype=np.float32, casting="same_kind")), lengths)

    @classmethod
    def merged(cls, groups: Sequence[Ragged], order: Tensor) -> Ragged:
        """The sequences of all ``groups``, numbered through, in ``order`` (n,) int64."""
        lengths = torch.cat([group.lengths for group in groups])
        moved = lengths[order]
        first = (moved.cumsum(0) - moved)[order.argsort()]  # row where each sequence goes
        shift = first - (lengths.cumsum(0) - lengths)
        total = sum(len(group.values) for group in groups)  # lengths.sum() would wait for the device
        rows = torch.arange(total, device=lengths.device) + shift.repeat_interleave(lengths, output_size=total)
        values = groups[0].values.new_empty(total, groups[0].values.shape[-1])
        for group, to in zip(groups, rows.split([len(group.values) for group in groups]), strict=True):
            values.index_copy_(0, to, group.values)
        return cls(values, moved)

    @classmethod
    def from_padded(cls, x: Tensor, lengths: Tensor) -> Ragged:
        """Take the first ``lengths[i]`` rows of each ``x[i]``; x (n, T, D), lengths (n,)."""
        lengths = lengths.to(device=x.device, dtype=torch.int64)
        return cls(x[key_mask(lengths, x.shape[1])], lengths)

    def padded(self) -> tuple[Tensor, Tensor]:
        """Give (n, T, D) with zeros behind each sequence, T the longest, and the mask (n, T), True = real."""
        mask = key_mask(self.lengths, int(self.lengths.max()))
        x = self.values.new_zeros(*mask.shape, self.values.shape[-1])  # (n, T, D)
        x[mask] = self.values
        return x, mask

    def split(self) -> tuple[Tensor, ...]:
        """The ``n`` sequences as views (T_i, D)."""
        return self.values.split(self.lengths.tolist())

    def to(self, device: torch.device | str) -> Ragged:
        """The same sequences on another device."""
        return Ragged(self.values.to(device, non_blocking=True), self.lengths.to(device, non_blocking=True))


@dataclass(frozen=True)
class Batch:
    """B videos with their N clips and sentences; clips and sentences are ordered video by video.

    Attributes:
        keys: B datapoint keys.
        vid: B frame sequences, whole videos.
        clip: N frame sequences.
        par: B word sequences, whole paragraphs.
        sent: N word sequences.
        clip_num: (B,) int64 clips a video; N = ``clip_num.sum()``.
        width: clips of the longest video of the whole batch, where this is one process's share of it; else 0.
    """

    keys: list[str]
    vid: Ragged
    clip: Ragged
    par: Ragged
    sent: Ragged
    clip_num: Tensor
    width: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = (part.to(device) for part in (self.vid, self.clip, self.par, self.sent))
        return Batch(self.keys, *moved, self.clip_num.to(device, non_blocking=True), self.width)


def key_mask(lengths: Tensor, longest: int) -> Tensor:
    """(n, longest) bool, True on the first ``lengths[i]`` positions of row i."""
    return torch.arange(longest, device=lengths.device)[None, :] < lengths[:, None]
