"""``cootmart benchmark``: systems side by side, trained and scored as far as needed, in one table."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which suite, where to, how many seeds, compared with what."""
    parser.add_argument("suite", help="demo, table4, table5, ablation, or a YAML file like those in configs/benchmark")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change options of the suite, e.g. captioner.loop.epochs=5"
    )
    parser.add_argument("--out", type=Path, help="folder of the benchmark (default: runs/benchmark/SUITE)")
    parser.add_argument("--seeds", type=int, metavar="N", help="seeds 0 .. N-1 for every row (default: the suite's)")
    parser.add_argument("--compare-with", default="", metavar="ROW", help="row that the others are tested against")


def run(args: argparse.Namespace) -> int:
    """Run the suite. Returns 0, or 1 if a row could not be run: the table says which and why.

    Raises:
        CootmartError: the suite is wrong.
    """
    from rich.console import Console

    from cootmart.benchmark.run import run_suite, with_choices
    from cootmart.benchmark.suites import find_suite, load_suite
    from evaluation.tables import FORMATS, terminal

    path = find_suite(args.suite)
    suite = with_choices(load_suite(path, args.overrides), args.seeds, args.compare_with)
    out = args.out or Path("runs") / "benchmark" / path.stem
    table = run_suite(suite, out, _command(args))
    Console().print(terminal(table))
    print("\n".join(str(out / name) for name in ("report.html", "results.json", *(f"table.{s}" for s in FORMATS))))
    return 0 if table.complete else 1


def _command(args: argparse.Namespace) -> str:
    words = ["cootmart", "benchmark", args.suite, *args.overrides]
    words += ["--seeds", str(args.seeds)] if args.seeds is not None else []
    words += ["--compare-with", args.compare_with] if args.compare_with else []
    return shlex.join(words)
