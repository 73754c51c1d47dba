"""Captions and clip features of videos, and how they become batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from captioner.batch import Batch
from captioner.vocabulary import BOS, EOS, PAD, Vocabulary
from encoder.embeddings import Embeddings
from training.errors import CootmartError
from training.files import read_json


@dataclass(frozen=True)
class Annotation:
    """The sentences of a video and when they hold, in seconds."""

    name: str
    sentences: tuple[str, ...]
    timestamps: tuple[tuple[float, float], ...]

    def first(self, n: int) -> Annotation:
        """Only the first ``n`` sentences."""
        return Annotation(self.name, self.sentences[:n], self.timestamps[:n])


def read_annotations(path: str | Path, split: str | None = None) -> list[Annotation]:
    """Read MART's format ``{name: {"timestamps", "sentences"}}`` or COOT's ``meta_all.json`` with its ``segments``.

    Args:
        split: keep the videos of this split; only where the file names splits.

    Raises:
        CootmartError: a field is missing, a caption is empty, counts differ, or nothing is left.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise CootmartError(f"{path}: expected an object of video -> annotation")
    kept = {k: v for k, v in content.items() if split is None or v.get("split", split) == split}
    if not kept:
        raise CootmartError(f"{path}: no video{f' of split {split!r}' if split else ''}")
    return [_annotation(f"{path}: {name}", name, value) for name, value in kept.items()]


def _annotation(where: str, name: str, value: dict) -> Annotation:
    try:
        if "segments" in value:
            segments = value["segments"]
            sentences = tuple(segment["text"] for segment in segments)
            times = tuple((float(s["start_sec"]), float(s["stop_sec"])) for s in segments)
        else:
            sentences = tuple(value["sentences"])
            times = tuple((float(start), float(end)) for start, end in value["timestamps"])
    except (KeyError, TypeError, ValueError) as error:
        raise CootmartError(
            f"{where}: {type(error).__name__} {error}; expected sentences and timestamps, or segments with "
            "text, start_sec and stop_sec"
        ) from None
    if len(sentences) != len(times) or not sentences:
        raise CootmartError(f"{where}: found {len(sentences)} sentences and {len(times)} timestamps")
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str) or not sentence.strip():
            raise CootmartError(f"{where}: sentence {i} is empty; give it a text or remove the segment")
    return Annotation(name, sentences, times)


class Features(Protocol):
    """Where the features of a video's clips come from."""

    def __call__(self, annotation: Annotation) -> list[np.ndarray]:
        """One (v, Dv) array a sentence."""


WINDOW = "_window"


def clip_tokens(embeddings: Embeddings, name: str, kind: str, mode: str = "val") -> list[np.ndarray]:
    """What a captioner sees of each clip of ``name``, (v, Dv) each.

    ``kind`` as in `Embeddings.features` gives one vector. With ``_window`` behind it there are three: the clip, the one
    before and the one after, zeros where there is none.
    """
    features = embeddings.features(name, kind.removesuffix(WINDOW), mode)  # (clips, Dv)
    if not kind.endswith(WINDOW):
        return list(features[:, None])
    padded = np.pad(features, ((1, 1), (0, 0)))
    return list(np.stack([features, padded[:-2], padded[2:]], axis=1))


@dataclass(frozen=True)
class CootFeatures:
    """Features of clips from an embeddings file, see `clip_tokens`: sentence k is about clip k."""

    embeddings: Embeddings
    kind: str = "vidclip"
    mode: str = "val"

    def __call__(self, annotation: Annotation) -> list[np.ndarray]:
        features = clip_tokens(self.embeddings, annotation.name, self.kind, self.mode)
        n = len(annotation.sentences)
        if len(features) < n:
            raise CootmartError(
                f"video {annotation.name!r}: {n} sentences but embeddings of {len(features)} clips; "
                "were the embeddings made from these annotations?"
            )
        return features[:n]


@dataclass(frozen=True)
class Item:
    """A video ready for collation."""

    annotation: Annotation
    features: list[np.ndarray]  # S x (v, Dv)
    text: list[list[int]]  # S x [BOS] words [EOS]

    @classmethod
    def without_text(cls, name: str, features: list[np.ndarray]) -> Item:
        """A video to be captioned: S x (v, Dv)."""
        unknown = Annotation(name, ("",) * len(features), ((0.0, 0.0),) * len(features))
        return cls(unknown, features, [[BOS, EOS]] * len(features))


class CaptionDataset(Sequence):
    """Videos with features and token ids, all prepared once."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    @classmethod
    def build(
        cls,
        annotations: Sequence[Annotation],
        features: Features,
        vocabulary: Vocabulary,
        max_t_len: int,
        max_n_sen: int,
    ) -> CaptionDataset:
        """Take the first ``max_n_sen`` sentences of each video."""
        short = [annotation.first(max_n_sen) for annotation in annotations]
        return cls([Item(a, features(a), [vocabulary.encode(s, max_t_len) for s in a.sentences]) for a in short])

    def single_sentences(self) -> CaptionDataset:
        """Every sentence as a video of its own: what models without recurrence train on."""
        return CaptionDataset([single for item in self.items for single in _sentences(item)])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> Item:
        return self.items[i]

    @property
    def feature_size(self) -> int:
        """Dv."""
        return self.items[0].features[0].shape[-1]

    def batches(self, batch_size: int, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """Batches in ``order`` (all videos as they are when None), the last one may be smaller."""
        order = range(len(self)) if order is None else order
        for start in range(0, len(order), batch_size):
            yield collate([self.items[i] for i in order[start : start + batch_size]])


def _sentences(item: Item) -> Iterator[Item]:
    a = item.annotation
    for sentence, times, features, text in zip(a.sentences, a.timestamps, item.features, item.text, strict=True):
        yield Item(Annotation(a.name, (sentence,), (times,)), [features], [text])


def collate(items: Sequence[Item]) -> Batch:
    """One batch of videos, sentence step by sentence step, without rows for sentences that do not exist."""
    order = sorted(range(len(items)), key=lambda i: -len(items[i].text))
    counts = [len(items[i].text) for i in order]
    sizes = [sum(n > step for n in counts) for step in range(counts[0])]
    places = [(order[i], step) for step, size in enumerate(sizes) for i in range(size)]
    video, video_lengths = pad_features([items[i].features[step] for i, step in places])
    text, text_lengths = pad_text([items[i].text[step] for i, step in places])
    names = tuple(item.annotation.name for item in items)
    return Batch.build(names, tuple(order), tuple(sizes), video, video_lengths, text, text_lengths)


def pad_features(clips: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """T arrays (v, Dv) as (T, longest v, Dv) float32 with zeros behind, and their lengths (T,)."""
    lengths = np.array([len(clip) for clip in clips])
    if (lengths == lengths[0]).all():
        padded = np.stack(clips).astype(np.float32, copy=False)
    else:
        padded = np.zeros((len(clips), lengths.max(), clips[0].shape[1]), np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip)] = clip
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def pad_text(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """T lists of ids as (T, longest) int64 with [PAD] behind, and their lengths (T,)."""
    lengths = np.array([len(text) for text in texts])
    padded = np.full((len(texts), lengths.max()), PAD)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    return torch.from_numpy(padded), torch.from_numpy(lengths)
