"""The page of a benchmark: table, differences, time, distributions, curves, and videos with all systems' sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.benchmark import BenchmarkTable, Cell, Line
from evaluation.report_data import Curve, Distribution, Metric, Report, Sample, SystemRow, SystemTable
from evaluation.tables import MARK, count_text, interval_text, number, time_text

N_PICKS = 4


def build_report(
    table: BenchmarkTable,
    *,
    command: str = "",
    samples: Sequence[Sample] = (),
    per_video: Mapping[str, Mapping[str, float]] | None = None,
    curves: Sequence[Curve] = (),
    environment: Sequence[tuple[str, str]] = (),
) -> Report:
    """The page of ``table``.

    Args:
        command: the command line that makes it again.
        samples: chosen videos.
        per_video: system -> video -> CIDEr-D x 100.
        curves: of the trainings.
        environment: versions and settings.
    """
    ours = sum(1 for line in table.lines if not line.published and line.cells)
    facts = [("systems", str(ours)), ("videos", str(table.videos))]
    values = {name: list(found.values()) for name, found in (per_video or {}).items()}
    return Report(
        title=table.title,
        subtitle=table.note,
        command=command,
        facts=[(name, text) for name, text in facts if text != "0"],
        systems=[t for t in (_scores(table), _differences(table), _costs(table)) if t.rows],
        samples=samples,
        sample_score="CIDEr-D",
        distributions=[Distribution("Test videos by score", "CIDEr-D", values)] if values else [],
        curves=curves,
        environment=environment,
        notes=[*table.warnings, *table.failures, *_first_seeds(table, bool(samples or values or curves))],
    )


def _first_seeds(table: BenchmarkTable, shown: bool) -> list[str]:
    several = any(len(line.seeds) > 1 for line in table.lines)
    return ["Videos, distribution and curves are those of the first seed of each row."] if shown and several else []


def _metrics(table: BenchmarkTable) -> list[Metric]:
    return [Metric(c.label, c.meaning, c.higher_is_better, c.decimals) for c in table.columns]


def _scores(table: BenchmarkTable) -> SystemTable:
    rows = [_row(table, line) for line in table.lines]
    return SystemTable("Scores", _metrics(table), rows, " ".join(table.explanations))


def _row(table: BenchmarkTable, line: Line) -> SystemRow:
    cells = [line.cells.get(column.metric) for column in table.columns]
    details = [
        "" if cell is None else f"{interval_text(cell, column)}{' ' + MARK if cell.significant else ''}"
        for cell, column in zip(cells, table.columns, strict=True)
    ]
    note = " · ".join(filter(None, ["published" if line.published else "", line.note]))
    means = [cell and cell.mean for cell in cells]
    return SystemRow(line.name, means, [cell and cell.std for cell in cells], note, line.published, details)


def _differences(table: BenchmarkTable) -> SystemTable:
    """Paired differences, without a best value: how far from zero is what counts."""
    metrics = [Metric(c.label, c.meaning, None, c.decimals) for c in table.columns]
    rows = []
    for line in table.lines:
        cells = [line.cells.get(column.metric) for column in table.columns]
        if not any(cell and cell.difference is not None for cell in cells):
            continue
        details = [_difference_text(cell, c.decimals) for cell, c in zip(cells, table.columns, strict=True)]
        rows.append(SystemRow(line.name, [cell and cell.difference for cell in cells], details=details))
    note = "Mean over seeds, paired 95 % bootstrap interval over videos, and p of the permutation test (Holm)."
    return SystemTable(f"Difference to {table.compare_with}", metrics, rows, note)


def _difference_text(cell: Cell | None, decimals: int) -> str:
    if cell is None or cell.p is None:
        return ""
    decimals = max(decimals - 1, 0)
    bounds = f"[{number(cell.difference_low, decimals)}, {number(cell.difference_high, decimals)}]"
    return f"{bounds}\np {'< 0.001' if cell.p < 0.001 else f'= {cell.p:.3f}'}"


def _costs(table: BenchmarkTable) -> SystemTable:
    metrics = [
        Metric("parameters (M)", "trained parameters, in millions", False, 2),
        Metric("training (min)", "until training stopped, validation included, mean over seeds", False, 1),
        Metric("sentences/s", "written while decoding the test videos, mean over seeds", True, 0),
    ]
    rows = [_cost(line) for line in table.lines if not line.published and line.parameters is not None]
    return SystemTable("Size and speed", metrics, rows, "Measured on the machine below.")


def _cost(line: Line) -> SystemRow:
    minutes = None if line.train_seconds is None else line.train_seconds / 60
    texts = ["", time_text(line.train_seconds), ""]
    values = [line.parameters / 1e6, minutes, line.sentences_per_second]
    seeds = f"{len(line.seeds)} seed{'' if len(line.seeds) == 1 else 's'} · {count_text(line.parameters)} parameters"
    return SystemRow(line.name, values, note=seeds, details=texts)


def pick_videos(scores: Mapping[str, float], count: int = N_PICKS, seed: int = 0) -> dict[str, str]:
    """Video to why it was chosen: the ``count`` best, ``count`` worst and ``count`` random ones, each video once."""
    order = sorted((v for v in scores if math.isfinite(scores[v])), key=lambda v: (-scores[v], v))
    picks = dict.fromkeys(order[:count], "best")
    picks |= {video: "worst" for video in order[::-1][:count] if video not in picks}
    rest = [video for video in order if video not in picks]
    drawn = np.random.default_rng(seed).permutation(len(rest))[:count]
    return picks | {rest[i]: "random" for i in sorted(drawn.tolist())}
