"""``cootmart train encoder`` and ``cootmart train captioner``: one YAML configuration in, one run folder out."""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both stages."""
    parser.add_argument("stage", choices=("encoder", "captioner"), help="which of the two stages")
    parser.add_argument("config", type=Path, help="YAML file; those in configs/ are complete examples")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options, e.g. loop.epochs=5")
    parser.add_argument("--out", type=Path, required=True, help="run folder; the model of the best epoch lies in it")
    parser.add_argument("--resume", action="store_true", help="go on exactly where the run in --out stopped")
    parser.add_argument("--runs", type=int, default=1, help="train so many seeds and print mean and deviation")


def run(args: argparse.Namespace) -> int:
    """Train, once or with several seeds, and print the scores of the best epochs."""
    from training import config, parallel
    from training.errors import CootmartError

    if args.runs < 1:
        raise CootmartError(f"--runs: found {args.runs}, expected at least 1")
    config_class, train = _stage(args.stage)
    first = config.load(config_class, args.config, args.overrides)
    best = []
    for seed in range(first.loop.seed, first.loop.seed + args.runs):
        settings = replace(first, loop=replace(first.loop, seed=seed))
        out = args.out if args.runs == 1 else args.out / f"seed{seed}"
        resume = args.resume and (args.runs == 1 or (out / "last" / "state.pt").exists())  # later seeds may not exist
        best.append(_best(train(settings, out, resume)))
        if parallel.rank() == 0:
            print(f"model folder: {out}")
    if parallel.rank() == 0:
        _print(best)
    return 0


def _print(best: list[dict[str, float]]) -> None:
    several = f", mean +- deviation of {len(best)} seeds" if len(best) > 1 else ""
    print(f"validation scores of the best epoch{several}")
    for name in best[0]:
        print(f"  {name:28} {_summary([scores[name] for scores in best])}")


def _stage(name: str):
    if name == "encoder":
        from encoder.config import EncoderConfig
        from encoder.train import train

        return EncoderConfig, train
    from captioner.config import CaptionerConfig
    from captioner.train import train

    return CaptionerConfig, train


def _best(history: list[dict]) -> dict[str, float]:
    best = [record for record in history if record.get("best")][-1]
    return {"epoch": best["epoch"] + 1} | {name[4:]: best[name] for name in best if name.startswith("val_")}


def _summary(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.mean(values):.4g} +- {statistics.stdev(values):.2g}"
