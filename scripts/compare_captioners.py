"""Train the five captioners with the same budget and several seeds, and print a table like Table 4 of the COOT paper.

    python scripts/compare_captioners.py CONFIG.yaml [key=value ...] --seeds 3 --out runs/compare

CONFIG is a captioner configuration (its network is replaced by each of the five); all of them take the same steps on
the same batches of whole videos. ``--scst N`` trains MART for N epochs more by `captioner.scst`. Finished runs in
``--out`` are not trained again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from captioner.caption import caption_items
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.folder import load_captioner
from captioner.train import open_data, train
from evaluation import Scorer
from training import config as configuration
from training.files import atomic_path
from training.loop import pick_device

METHODS = {
    "vanilla": "VTransformer",
    "xl": "Transformer-XL",
    "xlgrad": "Transformer-XL with gradient",
    "norec": "MART w/o recurrence",
    "mart": "MART",
}
COLUMNS = {
    "Bleu_3": "B@3",
    "Bleu_4": "B@4",
    "METEOR": "METEOR",
    "ROUGE_L": "ROUGE-L",
    "CIDEr": "CIDEr-D",
    "re4": "R@4 ↓",
}
BLOCKED = ", no 4-gram twice in a paragraph"


def variant(config: CaptionerConfig, model: str, seed: int) -> CaptionerConfig:
    """``config`` for another network and seed."""
    n_features = config.model.max_features
    network = replace(config.model, model=model, max_v_len=n_features + (0 if model == "vanilla" else 2))
    data = replace(config.data, glove="") if model == "vanilla" else config.data
    loop = replace(config.loop, seed=seed)
    return replace(config, model=network, data=data, loop=loop, batch_of="videos")


def train_once(config: CaptionerConfig, run: Path) -> Path:
    """Train unless ``run`` already holds all epochs."""
    log = run / "metrics.jsonl"
    if not log.exists() or len(log.read_text(encoding="utf-8").splitlines()) < config.loop.epochs:
        train(config, run)
    return run


def runs_of(config: CaptionerConfig, seed: int, args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Rows of the table and the model folders that belong to them, trained one after the other."""
    for model, method in METHODS.items():
        run = train_once(variant(config, model, seed), args.out / f"{model}_seed{seed}")
        yield method, run
    if args.scst:
        again = variant(config, "mart", seed)
        loop = replace(again.loop, epochs=args.scst, validate_from=args.scst - 1)
        again = replace(
            again,
            scst=replace(again.scst, start=str(run)),
            optimizer=replace(again.optimizer, lr=args.scst_lr),
            loop=loop,
        )
        yield "MART, SCST", train_once(again, args.out / f"mart_scst_seed{seed}")


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Mean and standard deviation over the seeds, x 100 as in the paper."""
    lines = ["| method | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for method, scores in rows.items():
        cells = [_cell([100 * score[name] for score in scores if name in score]) for name in COLUMNS]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scst", type=int, default=0, metavar="EPOCHS", help="train MART further by rewards")
    parser.add_argument("--scst-lr", type=float, default=1e-5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = configuration.load(CaptionerConfig, args.config, args.overrides)
    data = open_data(config)
    rows: dict[str, list[dict[str, float]]] = {}
    with Scorer(data.references, ("Bleu", "METEOR", "ROUGE_L", "CIDEr", "repetition")) as scorer:
        for seed in range(args.seeds):
            for method, run in runs_of(config, seed, args):
                model, vocabulary, _ = load_captioner(run, pick_device())
                for name, n in ((method, 0), (method + BLOCKED, 4)):
                    options = DecodingOptions(no_repeat_ngram_in_paragraph=n)
                    said = caption_items(model, vocabulary, data.val.items, options)
                    rows.setdefault(name, []).append(scorer.score(said).metrics)
            with atomic_path(args.out / "table.md") as beside:
                beside.write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
