"""What a model computes on: the sentences of a few videos, the live ones only."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from captioner.vocabulary import IGNORE
from training.linear import rounded


@dataclass(frozen=True)
class Batch:
    """T sentences of B videos, step by step: first the first sentence of every video, then the second ones, ...

    Videos are sorted by falling sentence count, so the sentences of step s are the first ``step_sizes[s]`` videos
    and no row stands for a sentence that does not exist. ``order[i]`` is the place in ``names`` of sorted video i.
    """

    names: tuple[str, ...]  # B, in the order of the caller
    order: tuple[int, ...]  # B
    step_sizes: tuple[int, ...]  # S, falling, sum is T
    video: Tensor  # (T, v, Dv) float32, zeros after the features of a clip
    video_lengths: Tensor  # (T,) int64, 1..v
    text: Tensor  # (T, n) int64, [BOS] words [EOS] [PAD]...; n is 0 when there is no text
    text_lengths: Tensor  # (T,) int64
    feature_rows: Tensor  # (F,) int64, places of real features in the flattened (T, v)
    joint_rows: Tensor  # (P,) int64, see `places_of`, places in the flattened (T, v + 2 + n) joint sequences
    text_rows: Tensor  # (W,) int64, see `places_of`, places in the flattened (T, n) text
    label_rows: Tensor  # (K,) int64, places of labelled positions in the flattened (T, n) text
    labels: Tensor  # (K,) int64, the next token
    label_steps: Tensor  # (K,) int64, sentence step of each label
    full_video: bool  # every clip has v features

    @classmethod
    def build(
        cls,
        names: tuple[str, ...],
        order: tuple[int, ...],
        step_sizes: tuple[int, ...],
        video: Tensor,
        video_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        labels: Tensor | None = None,
    ) -> Batch:
        """Derive the index tensors; ``labels`` (T, n) with -1 where there is none default to the next tokens."""
        if labels is None:
            labels = next_tokens(text, text_lengths)
        place = labels.flatten().ne(IGNORE).nonzero().squeeze(1)
        steps = torch.repeat_interleave(torch.tensor(step_sizes, device=text.device))  # (T,)
        return cls(
            names=names,
            order=order,
            step_sizes=step_sizes,
            video=video,
            video_lengths=video_lengths,
            text=text,
            text_lengths=text_lengths,
            feature_rows=length_mask(video_lengths, video.shape[1]).flatten().nonzero().squeeze(1),
            joint_rows=places_of(joint_mask(video, video_lengths, text, text_lengths)),
            text_rows=places_of(length_mask(text_lengths, text.shape[1])),
            label_rows=place,
            labels=labels.flatten()[place],
            label_steps=steps[place // max(text.shape[1], 1)],
            full_video=bool((video_lengths == video.shape[1]).all()),
        )

    @classmethod
    def one_step(cls, video: Tensor, video_lengths: Tensor, text: Tensor, text_lengths: Tensor) -> Batch:
        """One sentence of each of R videos: video (R, v, Dv), text (R, n)."""
        places = tuple(range(len(video)))
        names = tuple(map(str, places))
        return cls.build(names, places, (len(video),), video, video_lengths, text, text_lengths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on ``device``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **{k: v.to(device, non_blocking=non_blocking) for k, v in tensors.items()})

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for a `torch.utils.data.DataLoader` with ``pin_memory``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: v.pin_memory() for k, v in values.items() if isinstance(v, Tensor)})

    @property
    def n_sentences(self) -> int:
        """T, the sentences of all videos."""
        return len(self.video)

    @cached_property
    def step_rows(self) -> tuple[slice, ...]:
        """Rows of each sentence step."""
        starts = [sum(self.step_sizes[:s]) for s in range(len(self.step_sizes))]
        return tuple(slice(start, start + n) for start, n in zip(starts, self.step_sizes, strict=True))

    def by_video(self, rows: list) -> list[list]:
        """T values, one a sentence, as B lists in the order of ``names``."""
        videos: list[list] = [[] for _ in self.names]
        for step in self.step_rows:
            for place, value in zip(self.order, rows[step], strict=False):
                videos[place].append(value)
        return videos


def next_tokens(text: Tensor, lengths: Tensor) -> Tensor:
    """Labels (T, n): the token after each position, -1 at the last real one and after it."""
    labels = torch.full_like(text, IGNORE)
    labels[:, :-1] = text[:, 1:]
    steps = torch.arange(text.shape[1], device=text.device)
    return labels.masked_fill_(steps >= lengths[:, None] - 1, IGNORE)


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """(n, longest) bool, True on the first ``lengths[i]`` positions of row i."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def joint_mask(video: Tensor, video_lengths: Tensor, text: Tensor, text_lengths: Tensor) -> Tensor:
    """Real positions (T, v + 2 + n) bool of ``[CLS] video [SEP] | [BOS] words [EOS]``, each part padded to its end."""
    first = length_mask(video_lengths + 2, video.shape[1] + 2)
    return torch.cat([first, length_mask(text_lengths, text.shape[1])], dim=1)


def places_of(real: Tensor) -> Tensor:
    """Places (P,) of all real positions of ``real`` (T, L) bool in its flattened form, ascending.

    A few padded ones, which nobody looks at, make P a number of rows for which products are fast (`rounded`).
    """
    flat = real.flatten()
    n_real = int(flat.sum())
    spare = (~flat).nonzero().squeeze(1)[: rounded(n_real) - n_real]
    return flat.index_fill(0, spare, True).nonzero().squeeze(1)
