"""``cootmart check-data``: every problem of a data set, before a training finds the first one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to check."""
    parser.add_argument("path", type=Path, help="an encoder's configuration (YAML), or meta_all.json")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options of the configuration")
    parser.add_argument("--video-features", help="frame features (default: those of the configuration)")
    parser.add_argument("--text-features", help="word features (default: those of the configuration)")


def run(args: argparse.Namespace) -> int:
    """Print every problem, or a table of what there is."""
    from encoder.data.check import check_data

    report = check_data(**_what(args))
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.problems:
        print(f"cootmart: {len(report.problems)} problems", file=sys.stderr)
        return 2
    widths = [max(map(len, column)) for column in zip(*report.table, strict=True)]
    for row in report.table:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    return 0


def _what(args: argparse.Namespace) -> dict[str, Any]:
    features = {"video_features": args.video_features, "text_features": args.text_features}
    if args.path.suffix.lower() not in (".yaml", ".yml"):
        return {"meta": args.path, **features}
    from encoder.config import EncoderConfig
    from training import config

    c = config.load(EncoderConfig, args.path, args.overrides)
    found = {"video_features": c.data.video_features, "text_features": c.data.text_features}
    return {
        "meta": c.data.meta,
        **{name: features[name] or path for name, path in found.items()},
        "video_dim": c.model.video_dim,
        "text_dim": c.model.text_dim,
        "splits": (c.data.train_split, c.data.val_split),
    }
