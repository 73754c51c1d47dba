"""Other annotation files to videos: YouCook2, ActivityNet Captions, and a table in CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from encoder.data.meta import Segment, Video
from training.errors import CootmartError
from training.files import read_json

CSV_COLUMNS = ("video", "split", "duration_sec", "start_sec", "stop_sec", "text")


@contextmanager
def _expected_form(path: str | Path, form: str) -> Iterator[None]:
    """Inside the block, a missing or odd value means that the file is not of the expected form."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CootmartError(f"{path}: {type(error).__name__} {error}; expected the form {form}") from None


def from_youcook2(path: str | Path) -> list[Video]:
    """YouCook2's ``youcookii_annotations_trainval.json`` -> videos of the splits ``train`` and ``val``."""
    splits = {"training": "train", "validation": "val"}
    with _expected_form(path, '{"database": {id: {duration, subset, annotations: [{segment, sentence}]}}}'):
        return [
            Video(
                key,
                key,
                splits[entry["subset"]],
                float(entry["duration"]),
                tuple(Segment(a["sentence"], *map(float, a["segment"])) for a in entry["annotations"]),
                f"recipe {entry['recipe_type']}" if "recipe_type" in entry else "",
            )
            for key, entry in read_json(path)["database"].items()
        ]


def from_activitynet(path: str | Path) -> list[Video]:
    """One file of ActivityNet Captions -> videos of the split that the file is called after.

    ``v_<id>`` becomes key ``<id>_<split>`` with data key ``<id>``, since a video is described anew in each split. White
    space in a sentence becomes single blanks; a segment that ends before it starts is turned round.
    """
    split = Path(path).stem
    with _expected_form(path, "{v_<id>: {duration, timestamps: [[start, stop]], sentences: [text]}}"):
        return [_activitynet_video(name, split, entry) for name, entry in read_json(path).items()]


def _activitynet_video(name: str, split: str, entry: dict[str, Any]) -> Video:
    key = name.removeprefix("v_")
    pairs = zip(entry["timestamps"], entry["sentences"], strict=True)
    segments = (Segment(_single_blanks(text), float(min(span)), float(max(span))) for span, text in pairs)
    return Video(f"{key}_{split}", key, split, float(entry["duration"]), tuple(segments))


def _single_blanks(text: str) -> str:
    """Runs of white space to one blank; one at the start or at the end stays, as in the published file."""
    return re.sub(r"\s+", " ", text)


def from_csv(path: str | Path) -> list[Video]:
    """A table with the columns video, split, duration_sec, start_sec, stop_sec, text; one row a segment, in order.

    Raises:
        CootmartError: names the line of a missing column, of a cell that is no number, or of a contradiction.
    """
    rows: dict[str, list[tuple[str, float, Segment]]] = {}
    for line, row in _csv_rows(Path(path)):
        video, split, *numbers, text = (row[name] or "" for name in CSV_COLUMNS)
        try:
            duration, start, stop = map(float, numbers)
        except ValueError:
            raise CootmartError(f"{path}: line {line}: found {numbers}, expected three numbers (seconds)") from None
        mine = rows.setdefault(video, [])
        mine.append((split, duration, Segment(text, start, stop)))
        if mine[0][:2] != mine[-1][:2]:
            raise CootmartError(
                f"{path}: line {line}: video {video!r} has split {split!r} and {duration:g} seconds, "
                f"but {mine[0][0]!r} and {mine[0][1]:g} before"
            )
    return [Video(key, key, mine[0][0], mine[0][1], tuple(s for *_, s in mine)) for key, mine in rows.items()]


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            if missing := [name for name in CSV_COLUMNS if name not in (reader.fieldnames or ())]:
                raise CootmartError(f"{path}: no column {missing[0]!r}, expected {', '.join(CSV_COLUMNS)}")
            for row in reader:
                yield reader.line_num, row
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CootmartError(f"{path}: not a CSV file in UTF-8 ({error})") from None
