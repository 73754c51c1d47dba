"""``cootmart export``: a model folder to a checkpoint that the published COOT code loads."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, which file."""
    parser.add_argument(
        "model", type=Path, help="model folder that `cootmart train` left, of an encoder or of a captioner"
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. model_0.pth")


def run(args: argparse.Namespace) -> int:
    """Convert."""
    if (args.model / "vocabulary.json").exists():
        from captioner.official import export_official
    else:
        from encoder.official import export_official

    export_official(args.model, args.out)
    print(f"checkpoint: {args.out}")
    return 0
