"""Which parts of a video get a sentence: read from a file, or split evenly."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.errors import CootmartError
from training.files import read_json

Segment = tuple[float, float]

CUE = re.compile(r"^\s*((?:\d+:)?\d+:\d+[.,]\d+)\s+-->\s+((?:\d+:)?\d+:\d+[.,]\d+)", re.MULTILINE)
STARTS, ENDS = ("start", "start_sec"), ("end", "stop", "end_sec", "stop_sec")
SUFFIXES = (".json", ".csv", ".srt", ".vtt")


def uniform(duration: float, count: int) -> list[Segment]:
    """``count`` segments of equal length that cover ``duration`` seconds."""
    if count < 1:
        raise CootmartError(f"number of segments: found {count}, expected at least 1")
    edges = [duration * i / count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def by_length(duration: float, seconds: float) -> list[Segment]:
    """Even segments of about ``seconds`` each."""
    if not seconds > 0:
        raise CootmartError(f"seconds of a segment: found {seconds}, expected more than 0")
    return uniform(duration, max(1, round(duration / seconds)))


def read_segments(path: str | Path, duration: float, video: str | None = None) -> list[Segment]:
    """Segments in seconds from a file, in any of these forms.

    - JSON: ``[[start, end], ...]``, ``[{"start", "end"}, ...]``, either under the key ``segments`` or ``sentences``, or
      one of these for each video: ``{video: ...}``, such as ``meta_all.json``.
    - CSV: ``start,end`` a line, or a header with the columns ``start`` (or ``start_sec``) and ``end`` (``stop_sec``),
      and perhaps ``video``.
    - SRT or WebVTT: the times of the cues.
    - a folder with such a file called ``<video>.json`` (``.csv``, ``.srt``, ``.vtt``) for each video.

    Args:
        duration: of the video in seconds; segments are cut there.
        video: file name with or without suffix, where ``path`` tells of several videos.

    Raises:
        CootmartError: names the file and the segment that is not a number, empty or outside the video.
    """
    path = _of_folder(Path(path), video)
    readers = {".csv": _read_csv, ".srt": _read_cues, ".vtt": _read_cues}
    rows = readers.get(path.suffix.lower(), _read_json)(path, video)
    if not isinstance(rows, list) or not rows:
        raise CootmartError(f"{path}: found no segments, expected [start, end] in seconds, see the forms in the help")
    return check_segments(rows, duration, str(path))


def check_segments(rows: Sequence[Any], duration: float, where: str = "segments") -> list[Segment]:
    """(start, end) pairs as floats, cut at the end of the video; `CootmartError` about one that makes no sense."""
    return [_check(where, i, row, duration) for i, row in enumerate(rows)]


def _of_folder(path: Path, video: str | None) -> Path:
    if not path.is_dir():
        return path
    stem = Path(video or "").stem
    found = [path / f"{stem}{suffix}" for suffix in SUFFIXES if (path / f"{stem}{suffix}").is_file()]
    if not found:
        raise CootmartError(f"{path}: no segments of {video!r}; expected {stem}.json, .csv, .srt or .vtt there")
    return found[0]


def _names(video: str | None) -> tuple[str, ...]:
    return (video, Path(video).stem) if video else ()


def _read_json(path: Path, video: str | None) -> Any:
    rows = read_json(path)
    for key in (*_names(video), "segments", "sentences"):
        if isinstance(rows, dict) and key in rows:
            rows = rows[key]
    return [_pair(row) for row in rows] if isinstance(rows, list) else rows


def _pair(row: Any) -> Any:
    """(start, end) of an object, anything else as it is."""
    if not isinstance(row, dict):
        return row
    ends = [next((row[name] for name in names if name in row), None) for names in (STARTS, ENDS)]
    return row if None in ends else ends


def _read_csv(path: Path, video: str | None) -> list[Any]:
    rows = [row for row in csv.reader(_text(path).splitlines()) if row]
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if not any(name in STARTS for name in header):
        return rows
    named = [dict(zip(header, row, strict=False)) for row in rows[1:]]
    if video and "video" in header:
        named = [row for row in named if row["video"] in _names(video)]
    return [_pair(row) for row in named]


def _read_cues(path: Path, video: str | None) -> list[Segment]:
    return [(_seconds(start), _seconds(end)) for start, end in CUE.findall(_text(path))]


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise CootmartError(f"{path}: not a text in UTF-8 ({error})") from None


def _check(where: str, index: int, row: object, duration: float) -> Segment:
    try:
        start, end = (float(value) for value in row)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise CootmartError(f"{where}: segment {index}: found {row!r}, expected [start, end] in seconds") from None
    if not 0 <= start < end or start >= duration:
        raise CootmartError(
            f"{where}: segment {index}: found {start} to {end}, "
            f"expected 0 <= start < end inside the video of {duration:.2f} seconds"
        )
    return start, min(end, duration)
