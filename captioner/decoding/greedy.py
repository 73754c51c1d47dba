"""One word after the other: the most probable one, or a drawn one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from captioner.decoding.filters import Filter
from captioner.models import Captioner
from captioner.vocabulary import BOS, EOS, PAD


class Choice(Protocol):
    """Picks the next word of every row."""

    def __call__(self, scores: Tensor) -> Tensor:
        """(R, V) -> (R,)."""


def most_probable(scores: Tensor) -> Tensor:
    """The word with the highest score."""
    return scores.argmax(dim=1)


def one_by_one(
    model: Captioner,
    state: Any,
    like: Tensor,
    filters: Sequence[Filter],
    max_length: int,
    choose: Choice = most_probable,
) -> tuple[Tensor, Tensor, Any]:
    """Write R sentences at once and stop when all have ended.

    Whenever half of those that are computed have ended, they are left out.

    Args:
        state: from ``model.begin``.
        like: (R, ...) for the number of sentences and the device.
        max_length: most tokens behind [BOS], [EOS] included.

    Returns:
        text: (R, n) [BOS] words [EOS] [PAD]...; a sentence that did not end has no [EOS].
        lengths: (R,) without padding.
        state: of the sentences that were computed to the end.
    """
    rows = torch.arange(len(like), device=like.device)  # (R',) sentences in the state
    sources = rows.tolist()
    text = torch.full((len(like), 1), BOS, device=like.device)
    ended = torch.zeros(len(like), dtype=torch.bool, device=like.device)
    lengths = torch.ones(len(like), dtype=torch.int64, device=like.device)
    for _ in range(max_length):
        prefix = text[rows]
        scores = model.step(state, prefix[:, -1])
        for restrict in filters:
            restrict(scores, prefix, sources)
        word = torch.full_like(lengths, PAD).index_copy_(0, rows, choose(scores)).masked_fill_(ended, PAD)
        lengths += ~ended
        text = torch.cat([text, word[:, None]], dim=1)
        finished, ended = ended, ended | (word == EOS)  # of those finished, the model has read the [EOS]
        n_left = len(like) - int(ended.sum())
        if n_left == 0:
            break
        if 2 * n_left <= len(rows):
            kept = finished[rows].logical_not().nonzero().squeeze(1)
            state, rows = state.select(kept), rows[kept]
            sources = rows.tolist()
    return text, lengths, state
