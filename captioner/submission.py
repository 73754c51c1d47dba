"""The submission file of the caption benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.files import write_json

Texts = Mapping[str, Sequence[str]]
Times = Mapping[str, Sequence[tuple[float, float]]]


def submission(texts: Texts, times: Times | None = None, references: Texts | None = None) -> dict[str, Any]:
    """``{"version", "results": {video: [{"sentence", "timestamp", "gt_sentence"}]}, "external_data"}``.

    Args:
        texts: the sentences written for each video.
        times: (start, end) in seconds of each sentence; with them sentences are sorted by their start.
        references: the annotated sentences.
    """
    results = {}
    for name, said in texts.items():
        entries = [{"sentence": sentence} for sentence in said]
        if times is not None:
            entries = [e | {"timestamp": list(t)} for e, t in zip(entries, times[name], strict=True)]
        if references is not None:
            entries = [e | {"gt_sentence": r} for e, r in zip(entries, references[name], strict=True)]
        results[name] = sorted(entries, key=lambda e: e["timestamp"][0]) if times is not None else entries
    return {"version": "VERSION 1.0", "results": results, "external_data": {"used": "true", "details": "ay"}}


def write_submission(
    path: str | Path, texts: Texts, times: Times | None = None, references: Texts | None = None
) -> None:
    """Write a submission as JSON; see `submission`."""
    write_json(path, submission(texts, times, references))
