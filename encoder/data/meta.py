"""The annotation file `meta_all.json`: which videos there are, their segments, and the sentence of each.

``{key: {"data_key", "duration_sec", "split", "segments": [{"text", "start_sec", "stop_sec"}, ...]}}``. The order of the
keys is the order of the data set. Several keys may share one ``data_key``, which names the video's features. An entry
may have a ``group``, such as its recipe: reports colour by it, nothing else reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import float_info
from typing import Any

from training.errors import CootmartError
from training.files import write_json


@dataclass(frozen=True)
class Segment:
    """A stretch of a video and the sentence that tells what happens in it."""

    text: str
    start_sec: float
    stop_sec: float


@dataclass(frozen=True)
class Video:
    """One datapoint: a video with its segments in the order of its paragraph."""

    key: str
    data_key: str
    """name of the video's features"""
    split: str
    duration: float
    """seconds"""
    segments: tuple[Segment, ...]
    group: str = ""
    """kind of video, for reports"""


def load_meta(path: str | Path) -> list[Video]:
    """Videos of ``path`` in file order.

    Raises:
        CootmartError: the first problem that `examine_meta` reports.
    """
    videos, problems = examine_meta(path)
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise CootmartError(problems[0] + more)
    return videos


def examine_meta(path: str | Path) -> tuple[list[Video], list[str]]:
    """The good videos of ``path``, and every problem with file, key, what was found and what was expected."""
    problems: list[str] = []
    try:
        return list(_read(Path(path), problems)), problems
    except CootmartError as error:
        return [], [*problems, str(error)]


def save_meta(path: str | Path, videos: Iterable[Video]) -> None:
    """Write ``videos`` sorted by key, as the published files are.

    Raises:
        CootmartError: what `load_meta` would not read.
    """
    videos = sorted(videos, key=lambda video: video.key)
    for problem in _duplicates(path, [video.key for video in videos]):
        raise CootmartError(problem)
    entries = {video.key: _entry(video) for video in videos}
    problems: list[str] = []
    list(_videos(path, entries, problems))
    if problems:
        raise CootmartError(problems[0])
    write_json(path, entries)


def select(videos: Iterable[Video], split: str, path: str | Path) -> list[Video]:
    """Videos of one split, in order.

    Raises:
        CootmartError: there is none; the message names the splits that exist.
    """
    videos = list(videos)
    chosen = [video for video in videos if video.split == split]
    if not chosen:
        known = ", ".join(sorted({video.split for video in videos})) or "no video at all"
        raise CootmartError(f"{path}: no video of split {split!r}; found {known}")
    return chosen


def _entry(video: Video) -> dict[str, Any]:
    segments = [{"text": s.text, "start_sec": s.start_sec, "stop_sec": s.stop_sec} for s in video.segments]
    entry = {"data_key": video.data_key, "duration_sec": video.duration, "split": video.split, "segments": segments}
    return entry | ({"group": video.group} if video.group else {})


def _read(path: Path, problems: list[str]) -> Iterator[Video]:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        problems.extend(_duplicates(path, [key for key, _ in items]))
        return dict(items)

    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs)
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise CootmartError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except (OSError, json.JSONDecodeError) as error:
        raise CootmartError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(entries, dict) or not entries:
        raise CootmartError(f"{path}: found {type(entries).__name__}, expected a mapping of video keys, not empty")
    yield from _videos(path, entries, problems)


def _duplicates(path: str | Path, keys: list[str]) -> list[str]:
    seen: set[str] = set()
    twice = [key for key in keys if key in seen or seen.add(key)]
    return [f"{path}: key {key!r} occurs twice, expected each once; rename or remove one" for key in twice]


def _videos(path: str | Path, entries: dict[str, Any], problems: list[str]) -> Iterator[Video]:
    for key, entry in entries.items():
        found = list(_entry_problems(entry))
        problems.extend(f"{path}: {key}: {problem}" for problem in found)
        if not found:
            segments = (Segment(s["text"], float(s["start_sec"]), float(s["stop_sec"])) for s in entry["segments"])
            names = (entry["data_key"], entry["split"], float(entry["duration_sec"]))
            yield Video(key, *names, tuple(segments), entry.get("group", ""))


def _entry_problems(entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"found {type(entry).__name__}, expected data_key, duration_sec, split and segments"
        return
    for name in ("data_key", "split"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            yield f"{name}: found {entry.get(name)!r}, expected a name"
    if not isinstance(entry.get("group", ""), str):
        yield f"group: found {entry['group']!r}, expected a name, or leave it out"
    duration = entry.get("duration_sec")
    if not _is_number(duration) or duration <= 0:
        yield f"duration_sec: found {duration!r}, expected seconds above 0"
        duration = math.inf
    segments = entry.get("segments")
    if not isinstance(segments, list) or not segments:
        yield f"segments: found {segments!r}, expected a list of at least one segment"
        return
    for i, segment in enumerate(segments):
        yield from (f"segment {i}: {problem}" for problem in _segment_problems(segment, duration))


def _segment_problems(segment: Any, duration: float) -> Iterator[str]:
    if not isinstance(segment, dict):
        yield f"found {type(segment).__name__}, expected text, start_sec and stop_sec"
        return
    text, start, stop = (segment.get(name) for name in ("text", "start_sec", "stop_sec"))
    if not isinstance(text, str) or not text.strip():
        yield f"text: found {text!r}, expected a sentence"
    elif "\ufffd" in text:
        yield f"text: found {text!r} with a replacement character; the text was decoded wrongly, read it as UTF-8"
    if not _is_number(start) or not _is_number(stop):
        yield f"found start_sec {start!r} and stop_sec {stop!r}, expected seconds"
        return
    if start < 0 or start >= duration:
        yield f"start_sec {start:g} lies outside the video, expected 0 to {duration:g} seconds"
    if stop < start:  # stop == start occurs in ActivityNet: a single frame
        yield f"stop_sec {stop:g} lies before start_sec {start:g}; exchange them?"


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= float_info.max  # no NaN, no 10^400
