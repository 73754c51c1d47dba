"""What may not be written: each filter sets the scores of forbidden words to minus infinity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.vocabulary import EOS, UNK

NEVER = -torch.inf


class Filter(Protocol):
    """Changes scores in place."""

    def __call__(self, scores: Tensor, prefix: Tensor, sources: Sequence[int]) -> None:
        """Forbid words.

        Args:
            scores: (R, V) of the next word.
            prefix: (R, t) written so far, [BOS] first.
            sources: R, the sentence of the batch that each row is a hypothesis of.
        """


@dataclass(frozen=True)
class NoUnknown:
    """[UNK] is never written."""

    def __call__(self, scores: Tensor, prefix: Tensor, sources: Sequence[int]) -> None:
        scores[:, UNK] = NEVER


@dataclass(frozen=True)
class MinLength:
    """No end before ``length`` words."""

    length: int

    def __call__(self, scores: Tensor, prefix: Tensor, sources: Sequence[int]) -> None:
        if prefix.shape[1] <= self.length:
            scores[:, EOS] = NEVER


@dataclass(frozen=True)
class NoRepeatedNgrams:
    """No word that would complete an n-gram which the sentence, or what was said before it, already has."""

    n: int
    history: Sequence[Sequence[int]] | None = None  # words of the earlier sentences of each paragraph

    def __call__(self, scores: Tensor, prefix: Tensor, sources: Sequence[int]) -> None:
        rows, words = [], []
        for row, (sentence, source) in enumerate(zip(prefix[:, 1:].tolist(), sources, strict=True)):
            said = [*self.history[source], *sentence] if self.history else sentence
            for word in completions(said, self.n):
                rows.append(row)
                words.append(word)
        scores[rows, words] = NEVER


def completions(words: Sequence[int], n: int) -> list[int]:
    """Words that after ``words`` would complete an n-gram that is already in ``words``."""
    start = tuple(words[len(words) - n + 1 :])
    if len(start) < n - 1:
        return []
    ends = range(n - 1, len(words))
    return [words[i] for i in ends if tuple(words[i - n + 1 : i]) == start and words[i] != EOS]


def build_filters(options: DecodingOptions, history: Sequence[Sequence[int]]) -> list[Filter]:
    """Filters of the options for sentences whose paragraphs say ``history`` so far."""
    filters: list[Filter] = []
    if not options.allow_unknown:
        filters.append(NoUnknown())
    if options.min_length:
        filters.append(MinLength(options.min_length))
    if options.no_repeat_ngram and not options.kill_repeating_paths:
        filters.append(NoRepeatedNgrams(options.no_repeat_ngram))
    if options.no_repeat_ngram_in_paragraph:
        filters.append(NoRepeatedNgrams(options.no_repeat_ngram_in_paragraph, history))
    return filters
