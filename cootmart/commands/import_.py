"""``cootmart import``: a checkpoint of the published COOT or MART code to a model folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which file, what model it is, where to."""
    parser.add_argument(
        "checkpoint", type=Path, help="published file: model_50.pth of an encoder or captioner, model.chkpt"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options of --config")
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="its configuration, one of configs/encoder/paper2020 or configs/captioner/paper2020",
    )
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")


def run(args: argparse.Namespace) -> int:
    """Convert; every parameter has to fit."""
    from training import config

    config_class, import_official = _kind(args.checkpoint)
    import_official(args.checkpoint, config.load(config_class, args.config, args.overrides), args.out)
    print(f"model folder: {args.out}")
    return 0


def _kind(checkpoint: Path):
    """Configuration class and importer of what the file holds: an encoder is four networks, a captioner one."""
    from captioner.official import read_official

    official = read_official(checkpoint)
    if not isinstance(official, dict) or any(str(name).startswith("net_") for name in official):
        from encoder.config import EncoderConfig
        from encoder.official import import_official

        return EncoderConfig, import_official
    from captioner.config import CaptionerConfig
    from captioner.official import import_official

    return CaptionerConfig, import_official
