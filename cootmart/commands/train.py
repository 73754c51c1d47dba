"""``cootmart train encoder`` and ``cootmart train captioner``: one YAML configuration in, one run folder out."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both stages."""
    parser.add_argument("stage", choices=("encoder", "captioner"), help="which of the two stages")
    parser.add_argument("config", type=Path, help="YAML file; those in configs/ are complete examples")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options, e.g. loop.epochs=5")
    parser.add_argument("--out", type=Path, required=True, help="run folder; the model of the best epoch lies in it")
    parser.add_argument("--resume", action="store_true", help="go on exactly where the run in --out stopped")


def run(args: argparse.Namespace) -> int:
    """Train and say where the model is."""
    from training import config

    if args.stage == "encoder":
        from encoder.config import EncoderConfig as Config
        from encoder.train import train
    else:
        from captioner.config import CaptionerConfig as Config
        from captioner.train import train
    history = train(config.load(Config, args.config, args.overrides), args.out, args.resume)
    best = max((record for record in history if "val_score" in record), key=lambda record: record["val_score"])
    scores = {name[4:]: value for name, value in best.items() if name.startswith("val_")}
    print(f"best epoch {best['epoch'] + 1} of {len(history)}; validation:")
    print("\n".join(f"  {name:28} {value:.4g}" for name, value in scores.items()))
    print(f"model folder: {args.out}")
    return 0
