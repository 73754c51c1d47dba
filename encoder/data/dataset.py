"""From annotation and feature files to batches: videos cut into clips, paragraphs cut into sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from encoder.config import DataConfig
from encoder.data.frames import (
    Span,
    centre_indices,
    noisy_borders,
    random_indices,
    segment_frames,
    truncated_noise,
    uniform_spans,
)
from encoder.data.meta import Video, load_meta, select
from encoder.data.ragged import Batch, Ragged
from encoder.features.store import MEMORY, Features, open_features
from encoder.features.text import WordFeatures
from training.errors import CootmartError


@dataclass(frozen=True)
class Sample:
    """One video with its n clips and sentences."""

    key: str
    vid: np.ndarray
    """(T, Dv) frames of the whole video"""
    clips: list[np.ndarray]
    """n times (t, Dv)"""
    par: np.ndarray
    """(W, Dw) words of the whole paragraph"""
    sents: list[np.ndarray]
    """n times (w, Dw)"""


def cut_video(
    features: np.ndarray,
    duration: float,
    spans: Sequence[Span],
    config: DataConfig,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Frames of the video and of each clip, at most ``config.max_frames`` of each.

    Args:
        features: (T, D) all frames, evenly spaced over ``duration`` seconds.
        spans: start and stop of each clip in seconds.
        rng: draws random frames and adds the noise of ``config``; None takes the middle frames, without noise.

    Returns:
        The video (<= max_frames, D), and a clip of the same kind for each span.
    """
    count = len(features)
    if rng is not None and config.border_noise:
        spans = noisy_borders(spans, config.border_noise, duration, rng)
    bounds = [
        segment_frames(start, stop, duration, count, config.add_stop_frame, config.expand_segments)
        for start, stop in spans
    ]
    whole, *clips = (_look(features, start, stop, config, rng) for start, stop in [(0, count), *bounds])
    return whole, clips


def _look(
    features: np.ndarray, start: int, stop: int, config: DataConfig, rng: np.random.Generator | None
) -> np.ndarray:
    if rng is None:
        return features[start + centre_indices(stop - start, config.max_frames)]
    frames = features[start + random_indices(stop - start, config.max_frames, rng)]
    if config.frames_noise:
        frames = frames + truncated_noise(frames.shape, config.frames_noise, rng)
    return frames


class EncoderDataset:
    """The videos of one split with their features.

    Args:
        videos: in the order in which they are embedded.
        frames: frame features by data key.
        words: word features by key.
        config: how frames are taken.
        random_frames: draw frames at random, with the noise of ``config`` (training); else the middle ones.

    Raises:
        CootmartError: features of a video are missing, or its sentences are not those of the annotations.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        frames: Features,
        words: WordFeatures,
        config: DataConfig,
        random_frames: bool = False,
    ) -> None:
        self.videos, self.frames, self.words = list(videos), frames, words
        self.config, self.random_frames = config, random_frames
        frames.require(video.data_key for video in self.videos)
        words.require(self.videos)

    def __len__(self) -> int:
        return len(self.videos)

    def require_widths(self, video_dim: int, text_dim: int) -> None:
        """Raise `CootmartError` unless the first video has features as wide as the model expects."""
        frames = self.frames.read(self.videos[0].data_key)
        words, _ = self.words.read(self.videos[0].key)
        for store, x, name, expected in (
            (self.frames, frames, "video_dim", video_dim),
            (self.words, words, "text_dim", text_dim),
        ):
            if x.shape[1] != expected:
                raise CootmartError(
                    f"{store.path}: {self.videos[0].key}: features are {x.shape[1]} wide, but model.{name} is "
                    f"{expected}; train with model.{name}={x.shape[1]}, or use the features that the model is made for"
                )

    @property
    def keys(self) -> list[str]:
        """Datapoint keys in order."""
        return [video.key for video in self.videos]

    def sample(self, i: int, rng: np.random.Generator | None = None) -> Sample:
        """Video ``i``; ``rng`` as in `cut_video`."""
        video = self.videos[i]
        spans = [(segment.start_sec, segment.stop_sec) for segment in video.segments]
        if self.config.uniform_segments:
            spans = uniform_spans(video.duration, len(spans))
        whole, clips = cut_video(self.frames.read(video.data_key), video.duration, spans, self.config, rng)
        return Sample(video.key, whole, clips, *self.words.read(video.key))


def collate(samples: Sequence[Sample], width: int = 0) -> Batch:
    """Samples to one batch without padding, in float32; ``width`` as in `Batch`."""
    return Batch(
        keys=[sample.key for sample in samples],
        vid=Ragged.cat([sample.vid for sample in samples]),
        clip=Ragged.cat([clip for sample in samples for clip in sample.clips]),
        par=Ragged.cat([sample.par for sample in samples]),
        sent=Ragged.cat([sentence for sample in samples for sentence in sample.sents]),
        clip_num=torch.tensor([len(sample.clips) for sample in samples], dtype=torch.int64),
        width=width,
    )


class Loader:
    """Batches of a data set, epoch by epoch; an epoch is the same at every call.

    Args:
        dataset: the videos.
        batch_size: videos in a batch.
        shuffle: a new order in each epoch; else the order of the file.
        seed: of the order and of random frames, together with the epoch and the video.
        drop_last: leave out a last batch that is not full (the published runs keep it).
        part: which of ``parts`` equal shares of each batch to load, from 0.
        parts: processes that share the batches.
    """

    def __init__(
        self,
        dataset: EncoderDataset,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        if batch_size < 1:
            raise CootmartError(f"batch_size: found {batch_size}, expected at least 1")
        self.dataset, self.batch_size, self.part, self.parts = dataset, batch_size, part, parts
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        smallest = min(map(len, self._batches(0)), default=parts)
        if smallest < parts:
            raise CootmartError(
                f"batch_size {batch_size}: a batch has {smallest} of {len(dataset)} videos, fewer than the {parts} "
                "processes; change batch_size, or start fewer"
            )

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (1 if rest and not self.drop_last else 0)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Batches of ``epoch``, the next one prepared while the last one is in use."""
        chosen = self._batches(epoch)
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self._load, chosen[0], epoch) if chosen else None
            for following in [*chosen[1:], None]:
                batch = ahead.result() if ahead else None
                ahead = pool.submit(self._load, following, epoch) if following is not None else None
                if batch is not None:
                    yield batch

    def _batches(self, epoch: int) -> list[np.ndarray]:
        count = len(self.dataset)
        order = np.random.default_rng((self.seed, epoch)).permutation(count) if self.shuffle else np.arange(count)
        return [order[at * self.batch_size : (at + 1) * self.batch_size] for at in range(len(self))]

    def _load(self, chosen: np.ndarray, epoch: int) -> Batch:
        width = max(len(self.dataset.videos[i].segments) for i in chosen)
        chosen = np.array_split(chosen, self.parts)[self.part]
        draw = self.dataset.random_frames
        rngs = (np.random.default_rng((self.seed, epoch, int(i))) if draw else None for i in chosen)
        samples = [self.dataset.sample(int(i), rng) for i, rng in zip(chosen, rngs, strict=True)]
        return collate(samples, width if self.parts > 1 else 0)


def open_split(
    config: DataConfig,
    split: str,
    random_frames: bool = False,
    frames: Features | None = None,
    words: WordFeatures | None = None,
) -> EncoderDataset:
    """The data set of one split of ``config``; ``frames`` and ``words`` reuse stores that are open already."""
    videos = select(load_meta(config.meta), split, config.meta)
    frames = frames or open_features(config.video_features)
    words = words or WordFeatures(config.text_features)
    return EncoderDataset(videos, frames, words, config, random_frames)


def open_splits(
    config: DataConfig, video_dim: int, text_dim: int, memory: int = MEMORY
) -> tuple[EncoderDataset, EncoderDataset]:
    """Training and validation data of ``config`` over the same stores.

    Args:
        video_dim: width of a frame feature that the model expects.
        text_dim: width of a word feature that the model expects.
        memory: bytes of frame features, and of word features, to keep in memory.
    """
    frames = open_features(config.video_features, memory=memory)
    words = WordFeatures(config.text_features, memory=memory)
    train = open_split(config, config.train_split, True, frames, words)
    train.require_widths(video_dim, text_dim)
    return train, open_split(config, config.val_split, False, frames, words)
