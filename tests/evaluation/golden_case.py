"""One golden case: a submission, its references, and what the published code made of them."""

from __future__ import annotations

import json
from pathlib import Path

from evaluation.predictions import Predictions
from evaluation.references import ReferenceSet, load_references
from evaluation.tokenization import letters_only
from tests.golden_cases import DEFAULT, golden_dir


class GoldenCase:
    """A folder with ``case.json``, ``submission.json`` and ``expected.json``."""

    def __init__(self, path: Path) -> None:
        folder = path.parent
        self.name = folder.name
        case = json.loads(path.read_text(encoding="utf-8"))
        self.predictions = Predictions.load(folder / case["submission"])
        self.references = [reference for item in case["references"] for reference in _load(folder, item)]
        expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        self.metrics, self.per_video = expected["metrics"], expected.get("per_video", {})

    def texts(self) -> set[str]:
        """All reference paragraphs as METEOR sees them."""
        return {letters_only(one.paragraph(video)) for one in self.references for video in one.texts}


def _load(folder: Path, item: dict) -> list[ReferenceSet]:
    return load_references(folder / item["file"] if "file" in item else _annotation(item["annotation"]))


def _annotation(name: str) -> Path:
    """A published file: in the annotations beside the golden folder, or the copy in a case of this repository."""
    beside = golden_dir("eval").parent.parent / "annotations" / name
    copies = [] if beside.exists() else sorted((DEFAULT / "eval").glob(f"*/{Path(name).name}"))
    return copies[0] if copies else beside
