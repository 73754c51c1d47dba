"""Running a benchmark from its suite to its files: the table in every format, the page, and all numbers as JSON."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cootmart
from cootmart.benchmark.digests import Digests
from cootmart.benchmark.page import write_page
from cootmart.benchmark.rows import RanRow, run_row
from cootmart.benchmark.suites import Prepared, Suite, check_rows, row_of, test_of
from cootmart.benchmark.workplace import Workplace, locked, remove_halves
from evaluation.benchmark import BenchmarkTable, Column, columns_of, tabulate
from evaluation.files import write_bytes
from evaluation.tables import FORMATS
from training.errors import CootmartError
from training.files import write_json


def run_suite(suite: Suite, out: Path, command: str = "") -> BenchmarkTable:
    """Train, score and tabulate every row of ``suite`` in folder ``out``.

    A row whose data are missing, or that fails with an error for the user, does not stop the others: its problem is in
    the table. Whatever else ends the program, ``kill -9`` too: started again, it goes on after the last whole epoch.
    ``out`` then holds ``table.md``, ``table.csv``, ``table.tex``, ``report.html`` and ``results.json``.

    Raises:
        CootmartError: the suite is wrong, or another benchmark runs in ``out``.
    """
    columns = _columns(suite)
    check_rows(suite)
    with locked(out), ExitStack() as opened:
        remove_halves(out)
        prepared = _prepare(suite, out)
        work = Workplace(suite, out, prepared, test_of(suite, prepared), Digests(out / "digests.json"), opened)
        ran = [run_row(work, name) for name in suite.rows]
        table = tabulate(suite.title, columns, [r.row for r in ran], suite.compare_with, suite.note)
        for suffix, text in FORMATS.items():
            write_bytes(out / f"table.{suffix}", text(table).encode("utf-8"))
        write_page(out / "report.html", table, ran, work, command)
        write_json(out / "results.json", _results(table, ran))
    return table


def with_choices(suite: Suite, seeds: int | None, compare_with: str) -> Suite:
    """``suite`` with the seeds 0 .. ``seeds`` - 1 for every row, and compared with another row.

    Raises:
        CootmartError: no seed, or no such row.
    """
    if seeds is not None:
        if seeds < 1:
            raise CootmartError(f"--seeds: found {seeds}, expected at least 1")
        chosen = list(range(seeds))
        rows = {name: (suite.rows[name] or {}) | {"seeds": chosen} for name in suite.rows}
        suite = replace(suite, seeds=tuple(chosen), rows=rows)
    if compare_with and compare_with not in suite.rows:
        raise CootmartError(f"--compare-with: found {compare_with!r}, expected one of {', '.join(suite.rows)}")
    return replace(suite, compare_with=compare_with or suite.compare_with)


def _columns(suite: Suite) -> list[Column]:
    if suite.prepare != "demo":
        return columns_of(suite.metrics)
    from cootmart.demo.benchmark import COLUMNS

    return columns_of(suite.metrics, COLUMNS)


def _prepare(suite: Suite, out: Path) -> Prepared:
    """Make the suite's data, unless every row is a published one."""
    runs = any(row.encoder or row.captioner for row in (row_of(suite, name) for name in suite.rows))
    if suite.prepare != "demo" or not runs:
        return Prepared()
    from cootmart.demo.benchmark import prepare_demo

    return prepare_demo(suite, out)


def _results(table: BenchmarkTable, ran: list[RanRow]) -> dict[str, Any]:
    """What ``results.json`` holds: the table and every run, without the counts of each video."""
    rows = {
        r.row.name: {
            "note": r.row.note,
            "problem": r.row.problem,
            "warning": r.row.warning,
            "published": r.row.published,
            "runs": [{k: v for k, v in vars(run).items() if k not in ("counts", "videos")} for run in r.row.runs],
            "folders": {str(seed): str(folder) for seed, folder in r.folders.items()},
            "captions": {str(seed): str(path) for seed, path in r.captions.items()},
        }
        for r in ran
    }
    return {
        "cootmart": cootmart.__version__,
        "title": table.title,
        "compare_with": table.compare_with,
        "videos": table.videos,
        "complete": table.complete,
        "lines": [asdict(line) for line in table.lines],
        "rows": rows,
    }
