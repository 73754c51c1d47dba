"""``cootmart import``: a checkpoint of the published COOT code to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which file, what model it is, where to."""
    parser.add_argument("checkpoint", type=Path, help="published file such as models/model_50.pth")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options of --config")
    parser.add_argument(
        "--config", type=Path, required=True, help="its configuration, e.g. configs/encoder/paper2020/yc2_100m.yaml"
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")


def run(args: argparse.Namespace) -> int:
    """Convert; every parameter has to fit."""
    from encoder.config import EncoderConfig
    from encoder.official import import_official
    from training import config

    import_official(args.checkpoint, config.load(EncoderConfig, args.config, args.overrides), args.out)
    print(f"model folder: {args.out}")
    return 0
