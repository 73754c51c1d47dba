"""Self-critical training after cross-entropy: the network draws paragraphs and learns from the scores they get.

The loss of a drawn paragraph w is ``-(r(w) - b) log p(w)`` (Rennie et al., CVPR 2017), r being its CIDEr-D against the
reference, less a penalty for repeating itself, and b what other ways of decoding get for the same video. Dropout stays
off, so that words are drawn from the very probabilities that are learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captioner.batch import Batch
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.data import collate, pad_text
from captioner.decoding import generate
from captioner.folder import load_captioner
from captioner.train import CaptionData, CaptionerStage
from captioner.vocabulary import BOS, EOS, UNK
from evaluation.ngrams import NgramReferences
from evaluation.repetition import repetition_of
from evaluation.tokenization import letters_only
from training.errors import CootmartError


def starting_point(config: CaptionerConfig) -> CaptionerConfig:
    """``config`` with the network and the vocabulary of the model folder ``scst.start``.

    Raises:
        CootmartError: there is no captioner, or it was trained on other features.
    """
    _, _, found = load_captioner(config.scst.start)
    if found.data.features != config.data.features:
        raise CootmartError(
            f"data.features: found {config.data.features!r}, expected {found.data.features!r} as the captioner in "
            f"{config.scst.start} was trained on"
        )
    vocabulary = str(Path(config.scst.start) / "vocabulary.json")
    return replace(config, model=found.model, data=replace(config.data, vocabulary=vocabulary, glove=""))


@dataclass(frozen=True)
class Draw:
    """Which training videos a step draws paragraphs for, and by which random numbers."""

    videos: np.ndarray  # (B,) places in the training set
    seed: int


class ScstStage(CaptionerStage):
    """A captioner's run by rewards (a `training.loop.Stage`)."""

    def __init__(self, config: CaptionerConfig, data: CaptionData, device: torch.device, run: Path) -> None:
        """``config`` comes from `starting_point`."""
        super().__init__(replace(config, batch_of="videos"), data, device, run)
        self.title = f"{self.title}, self-critical"
        start, _, _ = load_captioner(config.scst.start, device)
        self.model.load_state_dict(start.state_dict())
        paragraphs = (" ".join(item.annotation.sentences) for item in self.train.items)
        self.references = NgramReferences([[letters_only(paragraph)] for paragraph in paragraphs])
        self.drawing = DecodingOptions(strategy="sample", allow_unknown=config.decoding.allow_unknown)

    def batches(self, epoch: int) -> Iterator[Draw]:
        random = np.random.default_rng((self.config.loop.seed, epoch))
        order, size = random.permutation(len(self.train)), self.config.batch_size
        for start in range(0, len(order), size):
            yield Draw(order[start : start + size], int(random.integers(2**31)))

    def loss(self, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        self.model.eval()
        n_samples = self.config.scst.samples
        batch = self._collate(np.tile(draw.videos, n_samples))
        drawn = self._write(batch, replace(self.drawing, seed=draw.seed))
        rewards = self._rewards(drawn, np.tile(draw.videos, n_samples)).view(n_samples, -1)  # (K, B)
        advantage = rewards - self._baseline(rewards, draw.videos)
        spoken = with_text(batch, drawn, self.config.model.max_t_len)
        log_probs = self._log_probs(spoken)  # (W,)
        weights = advantage.flatten().to(self.device)[videos_of_labels(spoken)]
        loss = -(weights * log_probs).sum() / advantage.numel()
        return loss, {"reward": rewards.mean(), "words": torch.tensor(len(log_probs) / spoken.n_sentences)}

    def _collate(self, videos: Sequence[int]) -> Batch:
        return collate([self.train[i] for i in videos]).to(self.device)

    def _write(self, batch: Batch, options: DecodingOptions) -> list[list[list[int]]]:
        with torch.autocast(self.device.type, enabled=False):  # it would keep copies of the weights without gradient
            return generate(self.model, batch, options)

    def _baseline(self, rewards: Tensor, videos: np.ndarray) -> Tensor:
        """What each draw is measured by: the other draws' mean (K, B), or what greedy decoding gets (B,)."""
        if self.config.scst.baseline == "greedy":
            greedy = DecodingOptions(allow_unknown=self.drawing.allow_unknown)
            return self._rewards(self._write(self._collate(videos), greedy), videos)
        return (rewards.sum(0) - rewards) / (len(rewards) - 1)

    def _rewards(self, paragraphs: list[list[list[int]]], videos: np.ndarray) -> Tensor:
        """CIDEr-D (0 to 10), less the weighted R@4 (0 to 1), of each paragraph."""
        said = [[self.vocabulary.decode(words) for words in sentences] for sentences in paragraphs]
        rewards = self.references.cider([letters_only(". ".join(sentences)) for sentences in said], videos)
        if self.config.scst.repetition_penalty:
            repeated = [repetition_of(sentences)[0][3] for sentences in said]
            rewards = rewards - self.config.scst.repetition_penalty * np.array(repeated)
        return torch.from_numpy(rewards).float()

    def _log_probs(self, batch: Batch) -> Tensor:
        """Log probability of every word that was drawn, [EOS] included: (W,)."""
        scores = self.model.scores(self.model.label_hidden(batch)).float()
        if not self.drawing.allow_unknown:
            forbidden = torch.arange(scores.shape[1], device=scores.device) == UNK
            scores = scores.masked_fill(forbidden, -torch.inf)
        return scores.log_softmax(dim=1).gather(1, batch.labels[:, None]).squeeze(1)


def with_text(batch: Batch, paragraphs: list[list[list[int]]], max_t_len: int) -> Batch:
    """The videos of ``batch`` with other sentences; one that fills all positions did not end, and has no [EOS]."""
    sentences = [paragraphs[video][step] for step, video in _places(batch)]
    text, lengths = pad_text([[BOS, *words, *[EOS] * (len(words) < max_t_len - 1)] for words in sentences])
    device = batch.video.device
    known = batch.names, batch.order, batch.step_sizes, batch.video, batch.video_lengths
    return Batch.build(*known, text.to(device), lengths.to(device))


def videos_of_labels(batch: Batch) -> Tensor:
    """The video of each label, as its place in ``batch.names``: (K,)."""
    videos = torch.tensor([video for _, video in _places(batch)], device=batch.labels.device)  # (T,)
    return videos[batch.label_rows // batch.text.shape[1]]


def _places(batch: Batch) -> Iterator[tuple[int, int]]:
    """Sentence step and place of the video of each sentence."""
    for step, n_videos in enumerate(batch.step_sizes):
        for video in batch.order[:n_videos]:
            yield step, video
