"""Training step and embedding of COOT on YouCook2-sized batches: sequences back to back against padded sequences.

Each side is a process of its own; they take turns in one run, and medians are compared: *packed*, what training uses;
*kept*, the same with ``model.kept_tokens`` so large that nothing is computed twice; *padded*, the same operations on
padded tensors; *plain*, padded tensors with torch's own operations and memory
(``plain_encoder.py``), which is how one writes the model first and how it was published; *bf16*, packed under autocast.

    python scripts/bench_encoder.py [--quick] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from plain_encoder import PaddedBatch, PlainCoot
from torch.utils.flop_counter import FlopCounterMode

from encoder.config import LossConfig, ModelConfig
from encoder.data.ragged import Batch, Ragged
from encoder.losses import coot_loss
from encoder.model import CootModel
from training.kernels import attention as kernels
from training.linear import linear
from training.memory import keep_freed_memory
from training.optim import OptimizerConfig, build_optimizer

VIDEOS = 64
WARM_UP = 1
SIDES = ("packed", "kept", "padded", "plain", "bf16")
ALL_KEPT = ModelConfig(kept_tokens=10**9)


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


def network(side: str, model: CootModel, batch: Batch) -> Callable[[], object]:
    """The forward pass of one side."""
    if side == "plain":
        plain, padded = PlainCoot(model), PaddedBatch.of(batch)
        return lambda: plain(padded)

    def forward():
        for local in (model.video_local, model.text_local):
            local.pooler.needs_padding = side == "padded"
        return model(batch)

    return forward


def trainer(model: CootModel, forward: Callable, bf16: bool = False) -> Callable[[], None]:
    """One optimiser step."""
    optimizer = build_optimizer(model, OptimizerConfig())

    def step() -> None:
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss, _ = coot_loss(forward(), LossConfig())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def embedder(model: CootModel, forward: Callable, bf16: bool = False) -> Callable[[], None]:
    """Embeddings of one batch."""

    def embed() -> None:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            forward()

    return embed


WORKS = {"training": trainer, "embedding": embedder}


def serve(pipe: Connection, side: str, name: str, threads: int) -> None:
    """The process of one side: do the work each time it is told to, answer with seconds and the peak in gigabytes."""
    if side != "plain":
        keep_freed_memory()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = CootModel(ALL_KEPT if side == "kept" else ModelConfig())
    work = WORKS[name](model, network(side, model, youcook2_batch()), side == "bf16")
    while pipe.recv():
        work()  # who has waited for its turn starts slowly, and is not measured
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        status = Path("/proc/self/status").read_text(encoding="utf-8")  # ru_maxrss would tell the parent's peak
        pipe.send((seconds, int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 2**20))


def in_turns(name: str, repeats: int, threads: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Median seconds of each side after `WARM_UP` rounds, its peak memory in gigabytes; the median `matrix_rate`."""
    spawn = multiprocessing.get_context("spawn")
    pipes, seconds, peaks, rates = {}, {side: [] for side in SIDES}, {}, []
    for side in SIDES:
        pipes[side], theirs = spawn.Pipe()
        spawn.Process(target=serve, args=(theirs, side, name, threads), daemon=True).start()
    for _ in range(repeats + WARM_UP):
        for side, pipe in pipes.items():
            pipe.send(True)
            taken, peaks[side] = pipe.recv()
            seconds[side].append(taken)
        rates.append(matrix_rate())
    for pipe in pipes.values():
        pipe.send(False)
    medians = {side: statistics.median(values[WARM_UP:]) for side, values in seconds.items()}
    return medians, peaks, statistics.median(rates[WARM_UP:])


def matrix_rate(repeats: int = 9) -> float:
    """Floating-point operations a second of a float32 product as large as the model's, at its best."""
    x, weight = torch.randn(2048, 384), torch.randn(768, 384)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        linear(x, weight)
        seconds.append(time.perf_counter() - started)
    return 2 * len(x) * weight.numel() / min(seconds)


def operations(work: Callable[[], None]) -> int:
    """Floating-point operations in matrix products: those that torch sees, and those within attention."""
    inside = 0

    def counted(kernel: Callable, products: int) -> Callable:
        def run(rows, starts, counts, lengths, *others) -> None:
            nonlocal inside
            inside += products * 2 * int((counts * lengths).sum()) * rows.shape[1] // 3
            kernel(rows, starts, counts, lengths, *others)

        return run

    attention = {"attend": counted(kernels.attend, 2), "attend_slope": counted(kernels.attend_slope, 5)}
    counter = FlopCounterMode(display=False)
    with patch.multiple(kernels, **attention), torch.backends.mkldnn.flags(enabled=False), counter:
        work()  # oneDNN's products would not be counted
    return counter.get_total_flops() + inside


def compare(name: str, repeats: int, threads: int) -> dict[str, float]:
    """Print time and memory of all sides and what part of the matrix rate *kept* reaches; return the ratios."""
    seconds, peaks, rate = in_turns(name, repeats, threads)
    model = CootModel(ALL_KEPT)
    flops = operations(WORKS[name](model, network("packed", model, youcook2_batch())))
    packed, kept, floor = seconds["packed"], seconds["kept"], flops / rate
    row(name, seconds, "s", [seconds["padded"] / packed, seconds["plain"] / packed])
    row("peak memory", peaks, "GB", [peaks["packed"] / peaks["padded"], peaks["packed"] / peaks["plain"]])
    print(f"  {flops / 1e9:.0f} GFLOP at {rate / 1e9:.0f}/s take {floor:.2f}s, {floor / kept:.0%} of what kept takes")
    return {
        f"{name}_vs_padded": seconds["padded"] / packed,
        f"{name}_vs_plain": seconds["plain"] / packed,
        f"{name}_bf16_vs_plain": seconds["plain"] / seconds["bf16"],
        f"{name}_kept_vs_plain": seconds["plain"] / kept,
        f"{name}_of_matrix_rate": floor / kept,
        f"{name}_memory_vs_padded": peaks["packed"] / peaks["padded"],
        f"{name}_memory_vs_plain": peaks["packed"] / peaks["plain"],
    }


def row(name: str, values: dict[str, float], unit: str, ratios: list[float]) -> None:
    """One line of the table."""
    cells = "".join(f"{values[side]:8.3f}{unit:2}" for side in SIDES)
    print(f"{name:14}{cells}" + "".join(f"{ratio:11.2f}" for ratio in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 7")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch = youcook2_batch()
    parts = (batch.vid, batch.clip, batch.par, batch.sent)
    padded = sum(len(part) * int(part.lengths.max()) for part in parts)
    real = sum(len(part.values) for part in parts)
    print(f"{len(batch.clip)} clips, {real} real of {padded} padded positions, {args.threads} threads, float32")
    print(f"{'':14}" + "".join(f"{side:>10}" for side in SIDES) + f"{'vs padded':>11}{'vs plain':>11}")
    ratios = {}
    for name in WORKS:
        ratios |= compare(name, 3 if args.quick else 7, args.threads)
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
