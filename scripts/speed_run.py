"""From features to a row of Table 4 in one command, every step timed: the encoder, its embeddings, MART, its scores.

    python scripts/speed_run.py data/sim --out runs/speed [--bf16] [--encoder-epochs N] [--captioner-epochs N]

The folder holds ``meta_all.json``, ``frames.h5``, ``words.h5`` and ``words_sentence_splits.json`` of YouCook2 (see
``simulate_features.py``). The protocol is fixed: the published configurations with their schedules and early stopping,
without GloVe vectors; fewer epochs only if told so, and the table says it. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from captioner.caption import caption_items
from captioner.config import CaptionerConfig
from captioner.folder import load_captioner
from captioner.train import open_data
from captioner.train import train as train_captioner
from encoder.config import EncoderConfig
from encoder.data.meta import load_meta
from encoder.embed import embed_split
from encoder.features.text import WordFeatures
from encoder.train import train as train_encoder
from evaluation import Scorer
from training import config as configuration
from training.errors import CootmartError
from training.files import read_json, write_json
from training.loop import pick_device

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
COLUMNS = {"Bleu_3": "B@3", "Bleu_4": "B@4", "METEOR": "METEOR", "ROUGE_L": "ROUGE-L", "CIDEr": "CIDEr-D", "re4": "R@4"}


@contextmanager
def timed(out: Path, step: str) -> Iterator[None]:
    """Announce a step and add how long it took to ``seconds.json``, where a run that was stopped finds it."""
    print(f"\n{step}", flush=True)
    started = time.monotonic()
    try:
        yield
    finally:
        seconds = seconds_of(out)
        seconds[step] = round(seconds.get(step, 0.0) + time.monotonic() - started, 1)
        write_json(out / "seconds.json", seconds)


def seconds_of(out: Path) -> dict[str, float]:
    """What each step has taken so far."""
    return read_json(out / "seconds.json") if (out / "seconds.json").exists() else {}


def encoder_config(data: Path, epochs: int | None, bf16: bool) -> EncoderConfig:
    """``yc2_100m`` on the files of the folder ``data``."""
    first = load_meta(data / "meta_all.json")[0]
    text_dim = WordFeatures(data / "words.h5").read(first.key)[0].shape[1]
    changes = [
        f"data.meta={data / 'meta_all.json'}",
        f"data.video_features={data / 'frames.h5'}",
        f"data.text_features={data / 'words.h5'}",
        f"model.text_dim={text_dim}",
    ]
    path = CONFIGS / "encoder/paper2020/yc2_100m.yaml"
    return configuration.load(EncoderConfig, path, changes + _loop(epochs, bf16))


def captioner_config(data: Path, out: Path, epochs: int | None, bf16: bool) -> CaptionerConfig:
    """``yc2_100m_vidclip_mart`` on the embeddings in ``out``; its vocabulary is that of the training sentences."""
    changes = [
        f"data.train_embeddings={out / 'embeddings_train.h5'}",
        f"data.val_embeddings={out / 'embeddings_val.h5'}",
        f"data.meta={data / 'meta_all.json'}",
        *(f"data.{name}=''" for name in ("train_annotations", "val_annotations", "vocabulary", "glove")),
        "data.val_references=[]",
    ]
    path = CONFIGS / "captioner/paper2020/yc2_100m_vidclip_mart.yaml"
    return configuration.load(CaptionerConfig, path, changes + _loop(epochs, bf16))


def _loop(epochs: int | None, bf16: bool) -> list[str]:
    return [f"loop.bf16={str(bf16).lower()}"] + ([f"loop.epochs={epochs}"] if epochs else [])


def epochs_of(run: Path) -> int:
    """How many epochs a training run took."""
    return len((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())


def score(config: CaptionerConfig, run: Path) -> dict[str, float]:
    """Caption all validation videos and score them."""
    model, vocabulary, _ = load_captioner(run, pick_device())
    data = open_data(config)
    with Scorer(data.references) as scorer:
        return scorer.score(caption_items(model, vocabulary, data.val.items, config.decoding)).metrics


def run_all(args: argparse.Namespace) -> dict:
    """All steps; what they took, and the scores."""
    encoder, mart = args.out / "encoder", args.out / "mart"
    config = encoder_config(args.data, args.encoder_epochs, args.bf16)
    with timed(args.out, "train the encoder"):
        train_encoder(config, encoder, resume=encoder.exists())
    with timed(args.out, "embed both splits"):
        retrieval = {s: embed_split(encoder, s, args.out / f"embeddings_{s}.h5") for s in ("train", "val")}["val"]
    with timed(args.out, "train MART"):
        config = captioner_config(args.data, args.out, args.captioner_epochs, args.bf16)
        train_captioner(config, mart, resume=mart.exists())
    with timed(args.out, "write and score the paragraphs"):
        metrics = score(config, mart)
    return {
        "device": str(pick_device()),
        "threads": torch.get_num_threads(),
        "precision": "bf16" if args.bf16 else "float32",
        "seconds": seconds_of(args.out),
        "epochs": {"encoder": epochs_of(encoder), "mart": epochs_of(mart)},
        "retrieval": retrieval,
        "scores": {name: round(100 * metrics[name], 2) for name in COLUMNS},
    }


def print_tables(result: dict) -> None:
    """Time of each step, then the row of Table 4."""
    print(f"\n| step ({result['device']}, {result['threads']} threads, {result['precision']}) | seconds |\n|---|---|")
    epochs = {"train the encoder": "encoder", "train MART": "mart"}
    for step, taken in result["seconds"].items():
        note = f", {result['epochs'][epochs[step]]} epochs" if step in epochs else ""
        print(f"| {step}{note} | {taken:.1f} |")
    print(f"| all | {sum(result['seconds'].values()):.1f} |")
    print(f"\n| {' | '.join(COLUMNS.values())} |\n{'|---' * len(COLUMNS)}|")
    print("| " + " | ".join(f"{result['scores'][name]:.2f}" for name in COLUMNS) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the four files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--encoder-epochs", type=int)
    parser.add_argument("--captioner-epochs", type=int)
    args = parser.parse_args()
    try:
        result = run_all(args)
    except CootmartError as error:
        parser.exit(2, f"error: {error}\n")
    write_json(args.out / "speed_run.json", result)
    print_tables(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
