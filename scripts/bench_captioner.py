"""Training steps of the captioners, and decoding with MART, against the same networks computed as they were published.

What published means is in ``unpacked_captioner.py``; besides, that side leaves it to torch how matrices are multiplied.
Both sides have the same blocks, weights and optimiser, take turns in the same run, and have to give the same loss and
the same words: in float64 exactly, on a small batch. In the float32 that is measured, the two sides add in different
orders, and random weights now and then find two words equally good to all digits; so there one sentence in ten may
differ, and the videos about which all words are alike are counted. The floor is what the matrix products of our side
must take by the measured rates of the machine (``roofline.py``). The last line is one JSON object with all ratios.

    python scripts/bench_captioner.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import copy
import json
import operator
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from roofline import Products, Rates
from torch import Tensor
from unpacked_captioner import Uncached, pad_paragraphs, published_greedy, published_loss, published_steps

from captioner.batch import Batch
from captioner.config import DecodingOptions, ModelConfig
from captioner.data import Annotation, Item, collate
from captioner.decoding import generate
from captioner.models import Captioner, build_model
from captioner.models.mart import Mart
from captioner.vocabulary import BOS, EOS
from training.ema import ExponentialMovingAverage
from training.memory import keep_freed_memory
from training.optim import OptimizerConfig, build_optimizer

MODELS = {"mart": 3, "norec": 3, "vanilla": 1, "xl": 3}  # max_v_len
MEAN_WORDS = 9.0  # of a YouCook2 sentence; about 7.7 sentences a video
CHECK_VIDEOS, CHECK_LONGEST = 4, 4  # what is compared in float64: videos, sentences of each at most
BEAM = DecodingOptions(strategy="beam", beam_size=4)


@dataclass(frozen=True)
class Job:
    """One row of decoding: how, what, and how often the slow side runs."""

    kind: str  # greedy | beam
    n_videos: int
    longest: int  # sentences of a video at most
    turns: int


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    n_videos: int  # in a training batch
    repeats: int  # of a training step
    decoding: tuple[Job, ...]


FULL = Plan(16, 7, tuple(Job(kind, n, 12, turns) for kind in ("greedy", "beam") for n, turns in ((16, 5), (50, 1))))
QUICK = Plan(8, 5, (Job("greedy", 16, 6, 1), Job("beam", 8, 12, 1)))


def youcook2_items(n_videos: int, config: ModelConfig, longest: int = 12) -> list[Item]:
    """Random videos with the sentence counts and lengths of YouCook2, at most 12 sentences as in training."""
    rng = np.random.default_rng(0)
    items = []
    for i, n in enumerate(np.clip(rng.normal(7.7, 2.2, n_videos).round(), min(3, longest), longest).astype(int)):
        lengths = np.clip(rng.normal(MEAN_WORDS, 3.7, n).round(), 2, config.max_t_len - 2).astype(int)
        text = [[BOS, *rng.integers(7, config.vocab_size, length).tolist(), EOS] for length in lengths]
        features = list(rng.standard_normal((n, 1, config.video_feature_size), np.float32))
        items.append(Item(Annotation(f"v{i}", ("",) * n, ((0.0, 1.0),) * n), features, text))
    return items


@torch.no_grad()
def ready_to_write(model: Mart, batch: Batch) -> None:
    """Weights that say different things about different clips, in sentences about as long as YouCook2's.

    All but the [EOS] row of the classifier are random; that row is fitted to the position in the sentence.
    """
    for p in model.parameters():
        if p.dim() > 1:
            p.normal_(0.0, 1.5 / p.shape[-1] ** 0.5)
    head, inputs, best = model.decoder, [], []
    head.bias[EOS] = -1e4  # sentences that do not end
    hooks = [
        head.transform["LayerNorm"].register_forward_hook(lambda _, __, out: inputs.append(out.double())),
        head.register_forward_hook(lambda _, __, out: best.append(out.amax(1).double())),
    ]
    generate(model, batch)
    for hook in hooks:
        hook.remove()
    n_words = model.config.max_t_len - 1
    wanted = torch.cat([score + 2 * (i % n_words - MEAN_WORDS) for i, score in enumerate(best)])
    x = torch.cat(inputs)
    row = torch.linalg.solve(x.T @ x + 1e-3 * len(x) * torch.eye(x.shape[1]), x.T @ wanted)
    head.decoder.weight[EOS] = row.float()
    low, high = -40.0, 40.0
    for _ in range(9):
        head.bias[EOS] = (low + high) / 2
        too_long = mean_words(generate(model, batch)) > MEAN_WORDS
        low, high = ((low + high) / 2, high) if too_long else (low, (low + high) / 2)


def mean_words(paragraphs: list[list[list[int]]]) -> float:
    return statistics.mean(len(sentence) for video in paragraphs for sentence in video)


def first_sentences(paragraphs: list, items: list[Item]) -> list:
    """Without the filler behind the true ones."""
    return [video[: len(item.text)] for video, item in zip(paragraphs, items, strict=True)]


def trainer(model: Captioner, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of training: forward, backward, clipping, BertAdam, moving average."""
    optimizer = build_optimizer(model, OptimizerConfig("bertadam", 1e-6, 0.9, 0.999, 1e-6, 0.01))
    average = ExponentialMovingAverage(model, 0.9999)

    def step() -> None:
        model.train()
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model, 0)

    return step


def by_torch(work: Callable) -> Callable:
    """``work`` with the matrix products that torch chooses itself."""

    def run() -> Any:
        torch.backends.mkldnn.enabled = False
        try:
            return work()
        finally:
            torch.backends.mkldnn.enabled = True

    return run


def products(work: Callable, rates: Rates) -> Products:
    """The matrix products in ``work``."""
    with Products(rates) as found:
        by_torch(work)()
    return found


def kept_for_backward(model: Captioner, loss: Callable[[], Tensor]) -> int:
    """Bytes that the forward pass leaves for the backward pass, besides the weights."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        value = loss()
    del value
    return sum(size for place, size in sizes.items() if place not in weights)


def medians(ours: Callable, published: Callable, turns: int, per_turn: int = 1) -> tuple[float, float]:
    """Median seconds of both: turns of ``per_turn`` runs of ours and one of the published, after a warm-up of ours.

    Seconds are those that the processor spent here when there is one thread, so that other programs do not count.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: tuple[list[float], list[float]] = ([], [])
    ours()
    for _ in range(turns):
        for work, kept in [(ours, seconds[0])] * per_turn + [(published, seconds[1])]:
            started = clock()
            work()
            kept.append(clock() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller batches, fewer repeats")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    plan, config = QUICK if args.quick else FULL, ModelConfig()
    kind = "CPU seconds" if args.threads == 1 else "seconds"
    print(f"{config.hidden_size} wide, {config.vocab_size} words, float32, threads: {args.threads}, medians, {kind}")
    rates = Rates.measure(config.hidden_size)
    print(f"the machine: {rates.flops / 1e9:.0f} GFLOP/s, reads {rates.read / 1e9:.0f} GB/s")
    print(f"{'':20}{'floor':>9}{'ours':>9}{'published':>11}{'ratio':>8}{'runs':>7}")
    results = {f"train_{name}": bench_training(name, plan, rates) for name in MODELS}
    model = build_model(config).eval()
    ready_to_write(model, collate(youcook2_items(8, config)))
    for job in plan.decoding:
        results[f"{job.kind}_{job.n_videos}_videos"] = bench_decoding(model, job, rates)
    print(json.dumps({name: round(value, 2) for name, value in results.items()}))


def bench_training(name: str, plan: Plan, rates: Rates) -> float:
    config = ModelConfig(model=name, max_v_len=MODELS[name])
    model, items = build_model(config), youcook2_items(plan.n_videos, config)
    batch, steps = collate(items), published_steps(items, config)
    ours, published = lambda: model.loss(batch)[0], lambda: published_loss(model, steps)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(), published(), rtol=1e-4, atol=0)
    model.train()
    megabytes = [kept_for_backward(model, loss) / 1e6 for loss in (ours, published)]
    work = [products(lambda loss=loss: loss().backward(), rates) for loss in (ours, published)]
    seconds = medians(trainer(model, ours), by_torch(trainer(model, published)), plan.repeats)
    gflop = [found.flops / 1e9 for found in work]
    real = int((batch.text_lengths if name == "vanilla" else batch.text_lengths + batch.video_lengths + 2).sum())
    rows = sum(step.text.numel() + (name != "vanilla") * len(step.text) * config.max_v_len for step in steps)
    note = (
        f"{plan.n_videos} videos, {batch.n_sentences} sentences, {real} real of {rows} positions; "
        f"{gflop[0]:.0f} and {gflop[1]:.0f} GFLOP; kept for backward {megabytes[0]:.0f} and {megabytes[1]:.0f} MB"
    )
    return report(f"training step {name}", work[0].floor, seconds, (plan.repeats, plan.repeats), note)


def decoders(model: Mart, kind: str, items: list[Item]) -> tuple[Callable, Callable]:
    """Ours and the published way to write about ``items``, both in the model's type."""
    dtype = model.decoder.bias.dtype
    batch, filler = (collate(videos) for videos in (items, pad_paragraphs(items, model.config)))
    batch, filler = (replace(b, video=b.video.to(dtype)) for b in (batch, filler))
    if kind == "beam":
        return lambda: generate(model, batch, BEAM), lambda: generate(Uncached(model, BEAM.beam_size), filler, BEAM)
    steps = [replace(step, video=step.video.to(dtype)) for step in published_steps(items, model.config)]
    return lambda: generate(model, batch), lambda: published_greedy(model, steps)


def require_same_words(model: Mart, kind: str) -> None:
    """Stop unless both sides write the very same in float64, where rounding decides nothing."""
    items = youcook2_items(CHECK_VIDEOS, model.config, CHECK_LONGEST)
    ours, published = decoders(copy.deepcopy(model).double(), kind, items)
    if ours() != first_sentences(published(), items):
        raise SystemExit(f"{kind}: cached and published decoding wrote different words in float64")


def require_alike(kind: str, found: list, expected: list) -> int:
    """The videos about which both sides wrote the same; stop if they part in more than one of ten sentences.

    Sentences behind the first different one of a video do not count: they depend on it.
    """
    same = [sum(1 for _ in takewhile(bool, map(operator.eq, *pair))) for pair in zip(found, expected, strict=True)]
    n_alike = sum(n == len(video) for n, video in zip(same, found, strict=True))
    if len(found) - n_alike > 0.1 * (sum(same) + len(found) - n_alike):
        raise SystemExit(f"{kind}: cached and published decoding agree about {n_alike} of {len(found)} videos only")
    return n_alike


def bench_decoding(model: Mart, job: Job, rates: Rates) -> float:
    require_same_words(model, job.kind)
    items = youcook2_items(job.n_videos, model.config, job.longest)
    ours, published = decoders(model, job.kind, items)
    written: list[list] = []
    runs = max(5, 3 * job.turns), job.turns
    seconds = medians(ours, by_torch(lambda: written.append(published())), job.turns, runs[0] // job.turns)
    found = ours()
    n_alike = require_alike(job.kind, found, first_sentences(written[0], items))
    lengths, work = [len(sentence) for video in found for sentence in video], products(ours, rates)
    note = (
        f"{job.n_videos} videos ({n_alike} alike), {len(lengths)} sentences of {mean_words(found):.1f} words, "
        f"{max(lengths)} at most; {work.flops / 1e9:.0f} GFLOP ours"
    )
    return report("beam of 4" if job.kind == "beam" else "greedy", work.floor, seconds, runs, note)


def report(name: str, floor: float, seconds: tuple[float, float], runs: tuple[int, int], note: str) -> float:
    ours, published = seconds
    counts = f"{runs[0]}/{runs[1]}"
    times = f"{floor:8.3f}s{ours:8.3f}s{published:10.3f}s"
    print(f"{name:20}{times}{published / ours:8.1f}{counts:>7}  {note}", flush=True)
    return published / ours


if __name__ == "__main__":
    main()
