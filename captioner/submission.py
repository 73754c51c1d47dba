"""The submission file of the caption benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioner.data import Annotation
from training.files import write_json


def submission(
    texts: Mapping[str, Sequence[str]], annotations: Mapping[str, Annotation] | None = None
) -> dict[str, Any]:
    """``{"version", "results": {video: [{"sentence", "timestamp", "gt_sentence"}]}, "external_data"}``.

    Args:
        texts: the sentences written for each video.
        annotations: by video name; with them every sentence has its time and its reference, and sentences are sorted
            by start. A video of which fewer sentences were written than annotated has the first ones.
    """
    results = {name: _entries(said, annotations and annotations[name]) for name, said in texts.items()}
    return {"version": "VERSION 1.0", "results": results, "external_data": {"used": "true", "details": "ay"}}


def _entries(said: Sequence[str], annotation: Annotation | None) -> list[dict[str, Any]]:
    if annotation is None:
        return [{"sentence": sentence} for sentence in said]
    known = annotation.first(len(said))
    rows = zip(said, known.timestamps, known.sentences, strict=True)
    entries = [{"sentence": s, "timestamp": list(times), "gt_sentence": truth} for s, times, truth in rows]
    return sorted(entries, key=lambda entry: entry["timestamp"][0])


def write_submission(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a submission as JSON."""
    write_json(path, content)
