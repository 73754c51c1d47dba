"""``cootmart demo``: the whole system on videos that it renders itself."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and how much."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options of configs/demo.yaml")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the run (default: %(default)s)")
    parser.add_argument("--config", type=Path, help="another configuration instead of configs/demo.yaml")
    parser.add_argument("--seed", type=int, default=0, help="seed of both trainings (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run every step and say where everything is."""
    from cootmart.demo.run import run_demo

    run_demo(args.out, args.config, args.overrides, args.seed)
    return 0
