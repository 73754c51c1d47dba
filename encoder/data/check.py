"""Everything that is wrong with a data set, all at once: annotations, frame features, word features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from encoder.data.meta import Video, examine_meta
from encoder.features.store import open_features
from encoder.features.text import WordFeatures
from training.errors import CootmartError
from training.progress import track


@dataclass
class Report:
    """What `check_data` finds."""

    problems: list[str] = field(default_factory=list)
    """each with file, key, what was found, and what to do"""
    table: list[tuple[str, ...]] = field(default_factory=list)
    """a heading, and a row a split"""


def check_data(
    meta: str | Path,
    video_features: str | Path | None = None,
    text_features: str | Path | None = None,
    video_dim: int | None = None,
    text_dim: int | None = None,
    splits: Sequence[str] = (),
) -> Report:
    """Read every annotation and every feature once.

    Args:
        meta: annotations.
        video_features: as `encoder.features.store.open_features`; None leaves them out.
        text_features: HDF5 file with sentence splits beside it; None leaves them out.
        video_dim: width that the model expects of a frame feature, if known.
        text_dim: width that the model expects of a word feature, if known.
        splits: that must exist.
    """
    videos, problems = examine_meta(meta)
    report = Report(problems)
    known = sorted({video.split for video in videos})
    for split in sorted(set(splits) - set(known)):
        report.problems.append(f"{meta}: no video of split {split!r}; found {', '.join(known) or 'none'}; rename one")
    report.problems += _durations(meta, videos)
    frames = _frame_counts(videos, video_features, video_dim, report.problems) if video_features else {}
    if text_features:
        report.problems += _words(videos, text_features, text_dim)
    report.table = _table(videos, frames)
    return report


def _durations(meta: str | Path, videos: Iterable[Video]) -> Iterator[str]:
    seen: dict[str, Video] = {}
    for video in videos:
        first = seen.setdefault(video.data_key, video)
        if first.duration != video.duration:
            yield (
                f"{meta}: {video.key}: duration_sec {video.duration:g}, but {first.duration:g} in {first.key}, which "
                f"has the same data_key {video.data_key!r}; correct one, or give them different features"
            )


def _frame_counts(videos: Iterable[Video], path: str | Path, dim: int | None, problems: list[str]) -> dict[str, int]:
    """Frames of every video whose features are good; the others go to ``problems``."""
    counts: dict[str, int] = {}
    try:
        store = open_features(path, dim, memory=0)
    except CootmartError as error:
        problems.append(str(error))
        return counts

    def read(key: str) -> None:
        store.require([key])
        counts[key] = len(store.read(key))

    problems += _problems(read, dict.fromkeys(video.data_key for video in videos), "frame features")
    return counts


def _words(videos: Sequence[Video], path: str | Path, dim: int | None) -> list[str]:
    try:
        store = WordFeatures(path, dim, memory=0)
    except CootmartError as error:
        return [str(error)]

    def read(video: Video) -> None:
        store.require([video])
        store.read(video.key)

    return _problems(read, videos, "word features")


def _problems(read: Callable, items: Iterable, title: str) -> list[str]:
    found = []
    for item in track(list(items), title):
        try:
            read(item)
        except CootmartError as error:
            found.append(str(error))
    return found


def _table(videos: Sequence[Video], frames: dict[str, int]) -> list[tuple[str, ...]]:
    heading = ("split", "videos", "clips", "clips/video", "seconds/clip", "words/sentence", "cut at end", "frames/s")
    rows = [_row(split, [v for v in videos if v.split == split], frames) for split in sorted({v.split for v in videos})]
    return [heading, *rows]


def _row(split: str, videos: Sequence[Video], frames: dict[str, int]) -> tuple[str, ...]:
    segments = [(segment, video.duration) for video in videos for segment in video.segments]
    clips = [len(video.segments) for video in videos]
    seconds = [min(s.stop_sec, end) - s.start_sec for s, end in segments]
    rates = [frames[v.data_key] / v.duration for v in videos if v.data_key in frames]
    return (
        split,
        str(len(videos)),
        str(len(segments)),
        f"{min(clips)}-{max(clips)}",
        f"{np.mean(seconds):.1f}",
        f"{np.mean([len(s.text.split()) for s, _ in segments]):.1f}",
        str(sum(s.stop_sec > end for s, end in segments)),
        f"{min(rates):.2f}-{max(rates):.2f}" if rates else "",
    )
