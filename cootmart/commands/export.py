"""``cootmart export``: an encoder's model folder to a checkpoint that the published COOT code loads."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, which file."""
    parser.add_argument("model", type=Path, help="model folder that `cootmart train encoder` left")
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. model_0.pth")


def run(args: argparse.Namespace) -> int:
    """Convert."""
    from encoder.official import export_official

    export_official(args.model, args.out)
    print(f"checkpoint: {args.out}")
    return 0
