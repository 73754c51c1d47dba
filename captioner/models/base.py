"""What every captioner can do: give its loss, and write words one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from captioner.batch import Batch
from captioner.config import ModelConfig
from captioner.loss import cross_entropy, smoothed_loss


class Captioner(nn.Module, ABC):
    """A network that scores the next word of a sentence about a clip.

    Training calls `loss`. Decoding calls `begin` for R clips, then `step` for one word a row at a time, and, when
    ``recurrent``, `remember` with the finished sentences to get the memory that `begin` takes for the next ones.
    """

    recurrent = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def label_hidden(self, batch: Batch) -> Tensor:
        """Hidden states (K, D) at the labelled positions."""

    @abstractmethod
    def scores(self, hidden: Tensor) -> Tensor:
        """Scores of all words: (..., D) -> (..., V)."""

    @abstractmethod
    def begin(self, video: Tensor, lengths: Tensor, memory: Any) -> Any:
        """Look at R clips.

        Args:
            video: (R, v, Dv); lengths: (R,) features of each clip.
            memory: what `remember` gave for the sentences before, None at the first ones.

        Returns:
            A state (`captioner.models.cache.Rows`) for `step`.
        """

    @abstractmethod
    def step(self, state: Any, words: Tensor) -> Tensor:
        """Scores (R, V) of the word after ``words`` (R,), which are appended to ``state`` in place."""

    def remember(
        self, video: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, memory: Any, state: Any = None
    ) -> Any:
        """Memory after the sentences ``text`` (R, n), [BOS] and [EOS] included; None without recurrence.

        ``state`` is what `begin` and `step` left of writing these rows, if that is at hand: it spares work. Sentences
        that had ended may have left it, but it was not reordered.
        """
        return None

    def loss(self, batch: Batch) -> tuple[Tensor, int, Tensor]:
        """Training loss, summed over the batch as published, the labels and how many were predicted right.

        Returns:
            loss: scalar; n_words: int; n_correct: () int64, left on the device.
        """
        scores = self.scores(self.label_hidden(batch))  # (K, V)
        correct = (scores.detach().argmax(dim=1) == batch.labels).sum()
        return self._criterion(scores, batch), len(batch.labels), correct

    def _criterion(self, scores: Tensor, batch: Batch) -> Tensor:
        if self.config.label_smoothing > 0:
            return smoothed_loss(scores, batch.labels, self.config.label_smoothing)
        if self.recurrent:
            return cross_entropy(scores, batch.labels, batch.label_steps, len(batch.step_sizes))
        return cross_entropy(scores, batch.labels, torch.zeros_like(batch.label_steps), 1)
