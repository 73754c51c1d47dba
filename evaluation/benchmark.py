"""Results of a benchmark: rows (systems) with one run a seed, and the table of statistics that they become."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evaluation.card import ROWS
from evaluation.errors import EvaluationError
from evaluation.significance import (
    bootstrap,
    counts_for,
    has_counts,
    holm,
    interval,
    permutation_p,
    resamples,
)

ALPHA = 0.05


@dataclass(frozen=True)
class Column:
    """A metric of the table: values are shown times ``scale``."""

    metric: str
    label: str
    scale: float = 100.0
    higher_is_better: bool | None = True
    meaning: str = ""
    decimals: int = 2


_LOWER = ("re1", "re2", "re3", "re4")
_RETRIEVAL = {
    "vid2par": "paragraph of a video",
    "par2vid": "video of a paragraph",
    "cli2sen": "sentence of a clip",
    "sen2cli": "clip of a sentence",
}
COLUMNS: dict[str, Column] = {
    name: Column(name, label.removesuffix(" (lower is better)"), factor, name not in _LOWER)
    for name, label, factor in ROWS
    if not name.startswith("submission_")
}
COLUMNS |= {
    f"{way}-r{k}": Column(f"{way}-r{k}", f"{way} R@{k}", meaning=f"{what} among the first {k}, in %")
    for way, what in _RETRIEVAL.items()
    for k in (1, 5, 10, 50)
}
COLUMNS |= {
    f"{way}-medr": Column(f"{way}-medr", f"{way} MdR", 1.0, False, f"median rank of the {what}", 1)
    for way, what in _RETRIEVAL.items()
}


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        metrics: unscaled scores.
        videos: the V videos of the counts.
        counts: (V, k) as `evaluation.significance` takes them, of the metrics that have an interval.
        train_seconds: of the run that was kept, validation included; None where it is not known.
        sentences_per_second: written while decoding the test videos; None where nothing is written.
        card: everything that is needed to compare the scores with others.
    """

    seed: int
    metrics: Mapping[str, float]
    videos: Sequence[str] = ()
    counts: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    parameters: int | None = None
    train_seconds: float | None = None
    sentences_per_second: float | None = None
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Row:
    """A system.

    Attributes:
        published: metric -> the number of a paper, as it is shown there; no number of ours.
        problem: why runs, or metrics of runs, are missing; empty if none is.
        warning: what a reader must know about the scores that are there.
    """

    name: str
    runs: Sequence[Run] = ()
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    problem: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Cell:
    """A metric of a row, scaled: mean and standard deviation over seeds, and what videos say about it.

    ``low`` and ``high`` bound the mean over seeds (95 % bootstrap over videos). ``difference`` is against the row
    compared with, with its own paired bounds; ``p`` is of a paired permutation test over videos, adjusted for the
    number of rows.
    """

    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether it differs from the row compared with at the level of 5 %."""
        return self.p is not None and self.p < ALPHA


@dataclass(frozen=True)
class Line:
    """A line of the table; ``published`` ones hold numbers of a paper and nothing else."""

    name: str
    cells: Mapping[str, Cell]
    published: bool = False
    note: str = ""
    seeds: Sequence[int] = ()
    parameters: int | None = None
    train_seconds: float | None = None
    sentences_per_second: float | None = None


@dataclass(frozen=True)
class BenchmarkTable:
    """What every format shows."""

    title: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    compare_with: str
    videos: int
    problems: Mapping[str, str]
    note: str = ""
    warnings: Sequence[str] = ()

    @property
    def complete(self) -> bool:
        """Whether every row was run, with all metrics."""
        return not self.problems

    @property
    def failures(self) -> list[str]:
        """A sentence for each reason why rows are missing, or some of their seeds or metrics."""
        begun = {line.name for line in self.lines if line.seeds}
        states = {name: "incomplete" if name in begun else "not run" for name in self.problems}
        return _together({name: f"{states[name]}: {problem}" for name, problem in self.problems.items()})

    @property
    def explanations(self) -> list[str]:
        """What the signs of the table mean, a sentence each."""
        found = [cell for line in self.lines for cell in line.cells.values()]
        texts = [
            (any(c.std is not None for c in found), "± standard deviation over seeds."),
            (any(c.low is not None for c in found), f"[95 % bootstrap interval over the {self.videos} videos]."),
            (any(c.p is not None for c in found), f"† differs from {self.compare_with}: p < 0.05 in a paired "
             "permutation test over videos, adjusted for the number of rows (Holm)."),
            (any(line.published for line in self.lines), "published: printed in the paper, not measured here."),
        ]  # fmt: skip
        return [text for holds, text in texts if holds]


def columns_of(names: Sequence[str], extra: Sequence[Column] = ()) -> list[Column]:
    """The columns called ``names``, out of the known ones and ``extra``.

    Raises:
        EvaluationError: an unknown name.
    """
    known = COLUMNS | {column.metric: column for column in extra}
    for name in names:
        if name not in known:
            raise EvaluationError(f"metric {name!r} is unknown, expected some of {', '.join(known)}")
    return [known[name] for name in names]


def tabulate(
    title: str, columns: Sequence[Column], rows: Sequence[Row], compare_with: str = "", note: str = ""
) -> BenchmarkTable:
    """The table of ``rows``.

    Args:
        compare_with: the row that the others are tested against; the first one with runs by default.

    Raises:
        EvaluationError: no such row, or the rows are about different videos.
    """
    ran = [row for row in rows if row.runs]
    if compare_with and compare_with not in [row.name for row in rows]:
        raise EvaluationError(f"compare with {compare_with!r}: expected one of {', '.join(r.name for r in rows)}")
    base = next((row for row in ran if row.name == compare_with or not compare_with), None)
    videos = _videos(ran)
    weights = resamples(len(videos)) if videos else None
    cells: dict[str, dict[str, Cell]] = {row.name: {} for row in ran}
    for column in columns:
        for name, cell in _column(column, ran, base, weights).items():
            cells[name][column.metric] = cell
    lines = [line for row in rows for line in _lines(row, cells.get(row.name, {}))]
    problems = {row.name: row.problem for row in rows if row.problem}
    warnings = _together({row.name: row.warning for row in rows if row.warning})
    base_name = base.name if base else compare_with
    return BenchmarkTable(title, columns, lines, base_name, len(videos), problems, note, warnings)


def _together(said: Mapping[str, str]) -> list[str]:
    """What is said of rows, each text once: ``row; another: text``."""
    rows: dict[str, list[str]] = {}
    for name, text in said.items():
        rows.setdefault(text, []).append(name)
    return [f"{'; '.join(names)}: {text}" for text, names in rows.items()]


def _videos(rows: Sequence[Row]) -> Sequence[str]:
    sets = {tuple(run.videos): row.name for row in rows for run in row.runs if run.videos}
    if len(sets) > 1:
        raise EvaluationError(
            f"rows {' and '.join(map(repr, sets.values()))} were scored on different videos; make a suite of each"
        )
    return next(iter(sets), ())


def _column(column: Column, rows: Sequence[Row], base: Row | None, weights: np.ndarray | None) -> dict[str, Cell]:
    metric, found, others = column.metric, {}, []
    drawn: dict[str, np.ndarray] = {}
    for row in rows:
        if not all(metric in run.metrics for run in row.runs):
            continue  # a mean over some of the seeds would pass for one over all
        values = [column.scale * run.metrics[metric] for run in row.runs]
        found[row.name] = {"mean": statistics.fmean(values)}
        if len(values) > 1:
            found[row.name]["std"] = statistics.stdev(values)
        if weights is not None and all(has_counts(metric, run.counts) for run in row.runs):
            drawn[row.name] = column.scale * bootstrap(
                metric, [counts_for(metric, r.counts) for r in row.runs], weights
            )
            found[row.name] |= dict(zip(("low", "high"), interval(drawn[row.name]), strict=True))
            others += [row] if base is not None and row.name != base.name else []
    if base is not None and base.name in drawn:
        for row, p in zip(others, holm([_p(metric, row, base) for row in others]), strict=True):
            found[row.name] |= _difference(found, drawn, row.name, base.name) | {"p": p}
    return {name: Cell(**values) for name, values in found.items()}


def _difference(found: Mapping, drawn: Mapping[str, np.ndarray], name: str, base: str) -> dict[str, float]:
    low, high = interval(drawn[name] - drawn[base])
    mean = found[name]["mean"] - found[base]["mean"]
    return {"difference": mean, "difference_low": low, "difference_high": high}


def _p(metric: str, row: Row, base: Row) -> float:
    """Of as many runs of one as of the other: a row that is not finished is tested on the seeds that it has."""
    count = min(len(row.runs), len(base.runs))
    a, b = ([counts_for(metric, run.counts) for run in r.runs[:count]] for r in (row, base))
    return permutation_p(metric, a, b)


def _lines(row: Row, cells: Mapping[str, Cell]) -> list[Line]:
    lines = []
    if row.runs:
        lines.append(
            Line(
                row.name,
                cells,
                note=row.note,
                seeds=[run.seed for run in row.runs],
                parameters=row.runs[0].parameters,
                train_seconds=_mean([run.train_seconds for run in row.runs]),
                sentences_per_second=_mean([run.sentences_per_second for run in row.runs]),
            )
        )
    if not row.runs and not row.published:
        lines.append(Line(row.name, {}, note="not run"))
    if row.published:
        numbers = {metric: Cell(value) for metric, value in row.published.items()}
        note = "; ".join(filter(None, [row.note, "not run here" if row.problem and not row.runs else ""]))
        lines.append(Line(row.name, numbers, published=True, note=note))
    return lines


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
