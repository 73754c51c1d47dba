"""Which parts of a video get a sentence: read from a file, or split evenly."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from training.errors import CootmartError
from training.files import read_json

Segment = tuple[float, float]


def uniform(duration: float, count: int) -> list[Segment]:
    """``count`` segments of equal length that cover ``duration`` seconds."""
    if count < 1:
        raise CootmartError(f"number of segments: found {count}, expected at least 1")
    edges = [duration * i / count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def by_length(duration: float, seconds: float) -> list[Segment]:
    """Even segments of about ``seconds`` each."""
    if seconds <= 0:
        raise CootmartError(f"seconds of a segment: found {seconds}, expected more than 0")
    return uniform(duration, max(1, round(duration / seconds)))


def read_segments(path: str | Path, duration: float) -> list[Segment]:
    """Segments from JSON (``[[start, end], ...]``) or CSV (``start,end`` a line, header optional), in seconds.

    Raises:
        CootmartError: names the file and the segment that is not a number, empty or outside the video.
    """
    path = Path(path)
    rows = _read_csv(path) if path.suffix.lower() == ".csv" else read_json(path)
    if not isinstance(rows, list) or not rows:
        raise CootmartError(f"{path}: found no segments, expected a list of [start, end] in seconds")
    return [_check(path, i, row, duration) for i, row in enumerate(rows)]


def _read_csv(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    has_header = bool(rows) and rows[0][0].strip().lower() in ("start", "start_sec")
    return rows[1:] if has_header else rows


def _check(path: Path, index: int, row: object, duration: float) -> Segment:
    try:
        start, end = (float(value) for value in row)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise CootmartError(f"{path}: segment {index}: found {row!r}, expected [start, end] in seconds") from None
    if not 0 <= start < end or start >= duration:
        raise CootmartError(
            f"{path}: segment {index}: found {start} to {end}, "
            f"expected 0 <= start < end inside the video of {duration:.2f} seconds"
        )
    return start, min(end, duration)
