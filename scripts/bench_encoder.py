"""Training step and embedding of COOT on YouCook2-sized batches: sequences back to back against padded sequences.

Both sides are the same model with the same weights in the same run; they alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from encoder.config import LossConfig, ModelConfig
from encoder.data.ragged import Batch, Ragged
from encoder.losses import coot_loss
from encoder.model import CootModel
from training.memory import keep_freed_memory
from training.optim import OptimizerConfig, build_optimizer

VIDEOS = 64


def youcook2_batch(seed: int = 0) -> Batch:
    """64 videos with the lengths of YouCook2: about 7.7 clips a video, 21 frames a clip, 11 tokens a sentence."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.normal(7.7, 2.2, VIDEOS).round(), 3, 16).astype(int)
    n = int(counts.sum())
    frames = np.clip(np.exp(rng.normal(2.8, 0.65, n)).round() + 2, 3, 80).astype(int)
    frames[0] = 80  # a batch without a clip of full length is rare
    words = np.clip(rng.normal(10.8, 4.2, n).round(), 4, 40).astype(int)
    paragraphs = np.add.reduceat(words, np.cumsum(counts) - counts)

    def random(lengths: np.ndarray, width: int) -> Ragged:
        values = rng.standard_normal((int(lengths.sum()), width), np.float32)
        return Ragged(torch.from_numpy(values), torch.from_numpy(lengths.astype(np.int64)))

    return Batch(
        [str(i) for i in range(VIDEOS)],
        random(np.full(VIDEOS, 80), 512),
        random(frames, 512),
        random(paragraphs, 1536),
        random(words, 1536),
        torch.from_numpy(counts.astype(np.int64)),
    )


def set_padded(model: CootModel, padded: bool) -> None:
    """Compute every padded position, as a plain batch of (n, T, D) tensors would."""
    for network in (model.video_local, model.text_local):
        network.pooler.needs_padding = padded


def trainer(model: CootModel, batch: Batch) -> Callable[[], None]:
    """One optimiser step."""
    optimizer = build_optimizer(model, OptimizerConfig())

    def step() -> None:
        model.train()
        loss, _ = coot_loss(model(batch), LossConfig())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def embedder(model: CootModel, batch: Batch) -> Callable[[], None]:
    """Embeddings of one batch."""

    def embed() -> None:
        model.eval()
        with torch.inference_mode():
            model(batch)

    return embed


def medians(model: CootModel, work: Callable[[], None], repeats: int) -> dict[bool, float]:
    """Median seconds, padded or not, taken in turns after one warm-up each."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(repeats + 1):
        for padded in (False, True):
            set_padded(model, padded)
            started = time.perf_counter()
            work()
            if turn:
                seconds[padded].append(time.perf_counter() - started)
    return {padded: statistics.median(values) for padded, values in seconds.items()}


def peak_gigabytes(padded: bool, threads: int) -> float:
    """Most memory that a process takes for two training steps, by a process of its own."""
    command = [sys.executable, __file__, "--memory", "padded" if padded else "packed", "--threads", str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def two_steps(padded: bool) -> float:
    """Gigabytes at the peak of this process after two training steps."""
    model, batch = CootModel(ModelConfig()), youcook2_batch()
    set_padded(model, padded)
    step = trainer(model, batch)
    step(), step()
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # ru_maxrss would tell the parent's peak
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 7")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", choices=("packed", "padded"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.memory:
        print(two_steps(args.memory == "padded"))
        return
    model, batch = CootModel(ModelConfig()), youcook2_batch()
    real = sum(len(r.values) for r in (batch.vid, batch.clip, batch.par, batch.sent))
    padded = sum(r.lengths.numel() * int(r.lengths.max()) for r in (batch.vid, batch.clip, batch.par, batch.sent))
    print(f"{len(batch.clip)} clips, {real} real of {padded} padded positions, {args.threads} threads, float32")
    results = {}
    print(f"{'':16}{'packed':>10}{'padded':>10}{'ratio':>8}")
    for name, make in (("training step", trainer), ("embedding", embedder)):
        seconds = medians(model, make(model, batch), 3 if args.quick else 7)
        results[name.replace(" ", "_")] = seconds[True] / seconds[False]
        print(f"{name:16}{seconds[False]:9.3f}s{seconds[True]:9.3f}s{seconds[True] / seconds[False]:8.2f}")
    memory = [peak_gigabytes(side, args.threads) for side in (False, True)]
    results["peak_memory"] = memory[0] / memory[1]
    print(f"{'peak memory':16}{memory[0]:8.2f}GB{memory[1]:8.2f}GB{memory[1] / memory[0]:8.2f}")
    print(json.dumps({name: round(value, 3) for name, value in results.items()}))


if __name__ == "__main__":
    main()
