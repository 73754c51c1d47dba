"""A tiny data set in the published file layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.config import DataConfig
from encoder.data.meta import Segment, Video, save_meta
from encoder.features.store import write_features
from encoder.features.text import HashedWords, write_word_features

VIDEO_DIM, TEXT_DIM = 6, 10


def video(key: str, clips: int, split: str = "train") -> Video:
    """A video of 4 seconds a clip, each clip half a second longer than the pause after it."""
    segments = (Segment(f"step {i} of {key}", 4.0 * i, 4.0 * i + 2.25) for i in range(clips))
    return Video(key, key, split, 4.0 * clips, tuple(segments))


def write_tiny(folder: Path, clips: tuple[int, ...] = (1, 2, 3, 2, 1, 4, 2), fps: int = 5) -> DataConfig:
    """Videos ``v0`` ... with so many clips each, the last two in split ``val``; row t of a feature starts with t."""
    splits = ["train"] * (len(clips) - 2) + ["val"] * 2
    videos = [video(f"v{i}", n, split) for i, (n, split) in enumerate(zip(clips, splits, strict=True))]
    config = DataConfig(
        meta=str(folder / "meta_all.json"),
        video_features=str(folder / "frames.h5"),
        text_features=str(folder / "words.h5"),
        max_frames=8,
    )
    save_meta(config.meta, videos)
    write_features(config.video_features, ((v.data_key, frames(int(v.duration * fps))) for v in videos))
    write_word_features(config.text_features, videos, HashedWords(TEXT_DIM))
    return config


def frames(count: int) -> np.ndarray:
    """(count, VIDEO_DIM) float32 whose first column counts the frames."""
    x = np.random.default_rng(count).standard_normal((count, VIDEO_DIM), np.float32)
    x[:, 0] = np.arange(count)
    return x
