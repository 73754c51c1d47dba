"""What an encoder's model folder holds for videos that nobody has annotated, learnt from the training videos.

Where segments are likely to start and end (`encoder.boundaries`), and what features look like
(`encoder.features.statistics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoder.boundaries import example, learn_boundaries, save_boundaries
from encoder.data.meta import Video
from encoder.features.statistics import FEW, FeatureStatistics
from encoder.features.store import Features

MOST_VIDEOS = 2000
MEMORY = 1 << 29
"""bytes of features that are looked at"""


def learn_from_videos(folder: str | Path, videos: Sequence[Video], frames: Features, seed: int = 0) -> None:
    """Write ``boundaries.safetensors`` and ``feature_statistics.json`` to an encoder's model folder.

    Args:
        videos: training videos; a sample of them is used where they are many.
        frames: their features by data key.
    """
    chosen, room = [], MEMORY
    for i in np.random.default_rng(seed).permutation(len(videos))[:MOST_VIDEOS]:
        features = frames.read(videos[i].data_key)
        room -= features.nbytes
        if room < 0 and len(chosen) >= FEW:
            break
        chosen.append((videos[i], features))
    if len(chosen) >= FEW:
        FeatureStatistics.measure(features for _, features in chosen).save(folder)
    spans = ([(segment.start_sec, segment.stop_sec) for segment in video.segments] for video, _ in chosen)
    examples = [example(x, video.duration, span) for (video, x), span in zip(chosen, spans, strict=True)]
    save_boundaries(learn_boundaries(examples, seed), folder)
