"""What the rows of an embeddings file are called, and what is said of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from encoder.data.meta import Segment, Video, load_meta
from encoder.embeddings import Embeddings
from evaluation.report_samples import time_text
from training.errors import CootmartError


@dataclass(frozen=True)
class Labels:
    """Names and texts of V videos and M clips; texts and groups are empty without annotations."""

    videos: list[str]
    paragraphs: list[str]
    clips: list[str]
    sentences: list[str]
    groups: list[str]
    """of the videos, such as their recipe"""
    owner: np.ndarray
    """(M,) row of the video that a clip belongs to"""

    @property
    def has_groups(self) -> bool:
        """Whether the annotations sort the videos into groups."""
        return any(self.groups)


def label_rows(embeddings: Embeddings, meta: str | Path | None = None) -> Labels:
    """Labels from the keys, and from the annotations if there are any.

    Raises:
        CootmartError: the annotations lack a video of the file, or have fewer segments than it has clips.
    """
    owner = np.repeat(np.arange(len(embeddings)), embeddings.clip_num)
    if meta is None:
        clips = [f"{key}, clip {i + 1}" for key, n in _counted(embeddings) for i in range(n)]
        empty = [""] * len(embeddings)
        return Labels(embeddings.keys, empty, clips, [""] * len(clips), empty, owner)
    videos = {video.key: video for video in load_meta(meta)}
    chosen = [_described(videos, key, n, meta, embeddings.path) for key, n in _counted(embeddings)]
    texts = [[" ".join(segment.text.split()) for segment in video.segments] for video in chosen]
    return Labels(
        embeddings.keys,
        [" ".join(_sentence(text) for text in sentences) for sentences in texts],
        [f"{video.key}, clip {i}, {_time(s)}" for video in chosen for i, s in enumerate(video.segments, 1)],
        [text for sentences in texts for text in sentences],
        [video.group for video in chosen],
        owner,
    )


def _counted(embeddings: Embeddings) -> list[tuple[str, int]]:
    return list(zip(embeddings.keys, embeddings.clip_num.tolist(), strict=True))


def _described(videos: dict[str, Video], key: str, clips: int, meta: str | Path, path: str) -> Video:
    """The video with as many segments as it has clips in the file."""
    if key not in videos:
        raise CootmartError(f"{meta}: no video {key!r}, but {path} has it; give the annotations that were embedded")
    if len(videos[key].segments) < clips:
        raise CootmartError(
            f"{meta}: {key}: found {len(videos[key].segments)} segments, but {path} has {clips} clips of it; give the "
            "annotations that were embedded"
        )
    return replace(videos[key], segments=videos[key].segments[:clips])


def _time(segment: Segment) -> str:
    return time_text(segment.start_sec, segment.stop_sec)


def _sentence(text: str) -> str:
    """With a full stop, so that the sentences of a paragraph do not run into one another."""
    return text if text[-1:] in ".!?…。！？" else f"{text}."  # noqa: RUF001


def repeated(texts: list[str]) -> int:
    """How many of ``texts`` occur more than once."""
    return sum(count for text, count in Counter(text.casefold() for text in texts).items() if text and count > 1)
