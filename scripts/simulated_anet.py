"""Random annotations, frame features and hashed words in the sizes of ActivityNet Captions, for ``bench_scale.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoder.config import DataConfig
from encoder.data.meta import Segment, Video, save_meta
from encoder.features.store import write_features
from encoder.features.text import HashedWords, write_word_features

WORDS = [f"word{i}" for i in range(3000)]
POOL = 4096
"""different rows that the features are drawn from"""


def simulated_videos(n: int, splits: tuple[str, ...], rng: np.random.Generator) -> Iterator[Video]:
    """Videos with 3.7 clips of a third of the video and 13 words a sentence on average, ``splits`` in turn."""
    for i in range(n):
        duration = rng.uniform(20, 235)
        shares = np.clip(np.exp(rng.normal(-1.4, 0.8, int(np.clip(rng.normal(4.2, 1.3), 1, 10)))), 0.02, 1)
        starts = np.sort(rng.uniform(0, 1 - shares)) * 0.99
        sizes = np.clip(rng.normal(13.5, 4.5, len(shares)), 4, 40).astype(int)
        times = np.stack([starts, starts + shares], axis=1) * duration
        rows = zip((" ".join(rng.choice(WORDS, size)) for size in sizes), times.tolist(), strict=True)
        yield Video(f"v{i:06}", f"v{i:06}", splits[i % len(splits)], duration, tuple(Segment(s, *t) for s, t in rows))


def simulate(folder: Path, n: int, frames: int, widths: tuple[int, int], *splits: str) -> DataConfig:
    """Files of ``n`` videos in a folder of their own inside ``folder``; written in a stream, kept where they are whole.

    Args:
        frames: float16 frames of every video.
        widths: of a frame and of a word.
        splits: of the videos, in turn.
    """
    folder = folder / f"{n}x{frames}x{widths[0]}-{'-'.join(splits)}"
    config = DataConfig(*(str(folder / name) for name in ("meta.json", "frames.h5", "words.h5")))
    if (folder / "words_sentence_splits.json").exists():  # the last one to be written
        return config
    rng = np.random.default_rng(0)
    videos = list(simulated_videos(n, splits, rng))
    pool = rng.standard_normal((POOL, widths[0]), np.float32).astype(np.float16)
    save_meta(config.meta, videos)
    write_features(config.video_features, ((v.data_key, pool[rng.integers(0, POOL, frames)]) for v in videos))
    write_word_features(config.text_features, videos, HashedWords(widths[1]))
    os.sync()  # only what is on the disk can be dropped from the file cache
    return config
