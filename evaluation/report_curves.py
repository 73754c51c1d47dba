"""Training curves from the lines of ``metrics.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.errors import EvaluationError
from evaluation.report_data import Curve

Records = Sequence[Mapping[str, float]]
USUAL = {
    "loss": {"train_loss": "training", "val_loss": "validation"},
    "validation score": {"val_score": "validation"},
}


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The records of a ``metrics.jsonl``, one an epoch.

    Raises:
        EvaluationError: the file is missing, or a line is not a JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
    except FileNotFoundError:
        raise EvaluationError(f"{path}: no such file; name the metrics.jsonl of a run folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: not a file of JSON lines ({error})") from None
    if not all(isinstance(record, dict) for record in records):
        raise EvaluationError(f"{path}: found a line that is no JSON object, expected one object an epoch")
    return records


def training_curves(stage: str, records: Records, charts: Mapping[str, Mapping[str, str]] | None = None) -> list[Curve]:
    """Charts of one training stage by epoch, counted from 1, with the kept epoch marked.

    Args:
        stage: what was trained; it begins the title of each chart.
        records: dictionaries with ``epoch``, ``train_loss``, ``val_score``, ``best`` ... as the training loop logs.
        charts: label of the y axis -> {key of the records: name of its line}. Default: the losses, and the
            score that chooses the epoch, as far as the records have them.

    Raises:
        EvaluationError: a key that ``charts`` asks for is in no record.
    """
    present = {key for record in records for key in record}
    if charts is None:
        charts = {label: {key: name for key, name in lines.items() if key in present} for label, lines in USUAL.items()}
    absent = sorted({key for lines in charts.values() for key in lines} - present)
    if absent:
        raise EvaluationError(f"{stage}: no record has {', '.join(absent)}; they have {', '.join(sorted(present))}")
    kept = [record["epoch"] + 1 for record in records if record.get("best")]
    best = kept[-1] if kept else None
    return [
        Curve(f"{stage}: {label}", "epoch", label, _series(records, lines), best)
        for label, lines in charts.items()
        if lines
    ]


def _series(records: Records, lines: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(record["epoch"] + 1, record[key]) for record in records if key in record] for key, name in lines.items()
    }
