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
) -> tuple[Tensor, Tensor]:
    """Write R sentences at once and stop when all have ended.

    Args:
        state: from ``model.begin``.
        like: (R, ...) for the number of sentences and the device.
        max_length: most tokens behind [BOS], [EOS] included.

    Returns:
        text: (R, n) [BOS] words [EOS] [PAD]...; a sentence that did not end has no [EOS].
        lengths: (R,) without padding.
    """
    n_rows, sources = len(like), range(len(like))
    text = torch.full((n_rows, 1), BOS, device=like.device)
    ended = torch.zeros(n_rows, dtype=torch.bool, device=like.device)
    lengths = torch.ones(n_rows, dtype=torch.int64, device=like.device)
    for _ in range(max_length):
        scores = model.step(state, text[:, -1])
        for restrict in filters:
            restrict(scores, text, sources)
        word = choose(scores).masked_fill(ended, PAD)
        lengths += ~ended
        text = torch.cat([text, word[:, None]], dim=1)
        ended |= word == EOS
        if ended.all():
            break
    return text, lengths
