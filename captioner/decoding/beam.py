"""Beam search: several hypotheses of every sentence side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captioner.config import DecodingOptions
from captioner.decoding.filters import Filter, NoUnknown
from captioner.models import Captioner
from captioner.vocabulary import BOS, EOS

FINISHED = -1e10  # score of a finished hypothesis that stays in the beam
KILLED = -1e21


@dataclass(frozen=True)
class Hypothesis:
    """A finished sentence: its words without [BOS] and [EOS], and its log probability over the length penalty."""

    score: float
    words: tuple[int, ...]


def length_penalty(kind: str, alpha: float, length: int) -> float:
    """Divisor of a log probability: 1, ``((5 + n) / 6)^alpha`` (Wu et al.), or n."""
    return {"none": 1.0, "wu": ((5 + length) / 6) ** alpha, "avg": float(length)}[kind]


class Beams:
    """The hypotheses of B sentences, K each, and those that have ended."""

    def __init__(self, n_sentences: int, options: DecodingOptions, max_length: int, device: torch.device) -> None:
        self.options, self.max_length, self.size = options, max_length, options.beam_size
        self.text = torch.full((n_sentences * self.size, 1), BOS, device=device)  # (B K, t)
        self.log_probs = torch.full((n_sentences, self.size), -torch.inf, device=device)  # (B, K)
        self.log_probs[:, 0] = 0.0
        self.sentences = list(range(n_sentences))  # which sentence each of the B is
        self.top_ended = [False] * n_sentences
        self.finished: list[list[Hypothesis]] = [[] for _ in range(n_sentences)]

    @property
    def sources(self) -> list[int]:
        """The sentence of each of the B K rows."""
        return [sentence for sentence in self.sentences for _ in range(self.size)]

    def advance(self, log_probs: Tensor, killed: Sequence[bool] = ()) -> Tensor:
        """Append the best words.

        Args:
            log_probs: (B K, V) of the next word.
            killed: of each of the B K rows, whether its hypothesis may not win; none by default.

        Returns:
            (B' K,) rows that the hypotheses of the sentences still running continue.
        """
        n_words = log_probs.shape[1]
        penalty = self._penalty(self.text.shape[1] + 1)
        total = log_probs + self.log_probs.view(-1, 1)  # (B K, V)
        if any(killed):  # in the place of the sum, so that one that died early ranks with one that died late
            total[torch.tensor(killed, device=total.device)] = KILLED
        scores, places = (total.view(len(self.sentences), -1) / penalty).topk(self.size)  # (B, K)
        self.log_probs = scores * penalty
        first = torch.arange(len(scores), device=scores.device)[:, None] * self.size
        rows = (first + places // n_words).flatten()
        self.text = torch.cat([self.text[rows], (places % n_words).view(-1, 1)], dim=1)
        return rows[self._collect(scores)]

    def _penalty(self, length: int) -> float:
        return length_penalty(self.options.length_penalty, self.options.length_penalty_alpha, length)

    def _collect(self, scores: Tensor) -> Tensor:
        """Store what has ended and keep the sentences that go on: their rows (B' K,)."""
        ended = self.text[:, -1].view_as(scores) == EOS  # (B, K)
        if self.text.shape[1] == self.max_length + 1:
            ended = torch.ones_like(ended)
        self.log_probs = self.log_probs.masked_fill(ended, FINISHED)
        going_on = []
        for i, flags in enumerate(ended.tolist()):
            self.top_ended[i] |= flags[0]
            for j in (j for j, flag in enumerate(flags) if flag):
                words = self.text[i * self.size + j, 1:].tolist()
                words = words[: words.index(EOS)] if EOS in words else words
                self.finished[self.sentences[i]].append(Hypothesis(float(scores[i, j]), tuple(words)))
            enough = len(self.finished[self.sentences[i]]) >= self.options.n_best
            if not (self.top_ended[i] and enough):
                going_on.append(i)
        return self._keep(going_on)

    def _keep(self, places: list[int]) -> Tensor:
        device = self.text.device
        kept = torch.tensor(places, dtype=torch.int64, device=device)
        rows = (kept[:, None] * self.size + torch.arange(self.size, device=device)).flatten()
        self.text, self.log_probs = self.text[rows], self.log_probs[kept]
        self.sentences = [self.sentences[i] for i in places]
        self.top_ended = [self.top_ended[i] for i in places]
        return rows

    def best(self) -> list[list[Hypothesis]]:
        """The finished hypotheses of each sentence, best first, ``n_best`` at most."""
        ranked = (sorted(found, key=lambda h: -h.score) for found in self.finished)
        return [found[: self.options.n_best] for found in ranked]


def beam_search(
    model: Captioner,
    state: Any,
    like: Tensor,
    filters: Sequence[Filter],
    options: DecodingOptions,
    max_length: int,
) -> list[list[Hypothesis]]:
    """The ``n_best`` sentences of each of R clips.

    A sentence is done when the hypothesis ranked first has ended at some step and ``n_best`` have ended.

    Args:
        state: from ``model.begin``.
        like: (R, ...) for the number of sentences and the device.
        max_length: most words; a hypothesis that long counts as ended.
    """
    beams = Beams(len(like), options, max_length, like.device)
    copies = torch.arange(len(like), device=like.device).repeat_interleave(options.beam_size)
    scores = model.step(state, beams.text[:: options.beam_size, -1])  # the hypotheses of a clip are still the same
    scores, state = scores[copies], state.select(copies)
    kills = options.kill_repeating_paths and options.no_repeat_ngram
    while True:
        killed = _repeating(beams.text, options.no_repeat_ngram) if kills else ()
        rows = beams.advance(_restricted(scores.float(), filters, beams), killed)
        if not beams.sentences:
            return beams.best()
        state = state.select(rows)
        scores = model.step(state, beams.text[:, -1])


def _restricted(scores: Tensor, filters: Sequence[Filter], beams: Beams) -> Tensor:
    """Log probabilities: [UNK] leaves its probability to the other words, what else is forbidden does not."""
    before = [f for f in filters if isinstance(f, NoUnknown)]
    for restrict in before:
        restrict(scores, beams.text, beams.sources)
    log_probs = scores.log_softmax(dim=1)
    for restrict in (f for f in filters if f not in before):
        restrict(log_probs, beams.text, beams.sources)
    return log_probs.clamp_(min=-1e20)  # -inf / penalty would lose the ranking of whole beams


def _repeating(text: Tensor, n: int) -> list[bool]:
    """Which hypotheses (R, t) already contain an n-gram twice."""
    repeating = []
    for words in text[:, 1:].tolist():
        ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        repeating.append(len(set(ngrams)) < len(ngrams))
    return repeating
