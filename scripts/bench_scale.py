"""What grows with the data: memory and speed of training, cost of a video, and use of a second process.

memory   encoder training with the sizes of configs/encoder/paper2020/anet.yaml on simulated data as large as those of
         ActivityNet Captions (10,000 videos x 500 frames x 2048 float16 numbers, 24 GB on disk), between two trainings
         on few videos. Before the steps all features are seen once and the system's file cache is emptied, as after a
         first epoch over data larger than memory; behind them come one validation and the end of `encoder.train.train`.
flat     embedding and captioning 1,000, 10,000 and 100,000 small videos with tiny networks: seconds a video, peak
         memory, and what grows. Retrieval scores, which compare everything with everything, are left out.
scaling  steps of encoder training by one process with one thread, one with two, and two with one each (gloo).

Peaks are those of a process of its own, without the file cache. The last line is one JSON object.

    python scripts/bench_scale.py [--quick] [--threads 2] [--only memory flat scaling] [--scratch FOLDER] [--clean]
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, count, pairwise
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from simulated_anet import WORDS, simulate

import captioner.caption
import encoder.embed
import encoder.train
from captioner import config as captioner_config
from captioner.folder import save_captioner
from captioner.models import build_model as build_captioner
from captioner.submission import write_submission
from captioner.vocabulary import Vocabulary
from encoder.config import DataConfig, EncoderConfig, ModelConfig
from encoder.data.ragged import Batch
from encoder.folder import save_encoder
from encoder.model import build_model as build_encoder
from training import config as configuration

ROOT = Path(__file__).resolve().parent.parent
FULL = {"videos": 10_000, "steps": 40, "sizes": [1_000, 10_000, 100_000]}
QUICK = {"videos": 500, "steps": 10, "sizes": [300, 1_000, 3_000]}
SMALL_FRAMES, SMALL_WIDTH = 16, 64
PARTS = {
    "open_split": "annotations and keys",
    "write_embeddings": "features kept, embeddings read back",
    "caption_items": "embeddings, items, sentences",
    "submission": "submission",
}
"""what it is that a function leaves in memory"""
LAUNCHES = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread": (2, 1)}
EPOCHS = 4


def memory(field: str = "VmHWM") -> float:
    """Gigabytes of memory that this process had at most (``VmHWM``), or has now (``VmRSS``)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s*(\d+) kB", status)[1]) * 1024 / 1e9


def in_child(work: Callable, *arguments) -> dict:
    """What ``work`` gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        return pool.submit(work, *arguments).result()


class TimedStage(encoder.train.EncoderStage):
    """An epoch of ``steps`` steps that notes in ``log`` when it asks for a batch, when it has it, and peak memory."""

    def __init__(self, log: dict, steps: int, config: EncoderConfig, train, val, device: torch.device) -> None:
        self.log, self.steps = log, steps
        for i in range(len(train)):
            train.sample(i)
        with Path(config.data.video_features).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        super().__init__(config, train, val, device)
        log |= {"asked": [], "had": [], "epoch": len(self.train_batches), "peaks": {"all seen": memory()}}

    def steps_per_epoch(self) -> int:
        return self.steps

    def batches(self, epoch: int) -> Iterator[Batch]:
        endless = chain.from_iterable(map(super().batches, count(epoch)))
        for _ in range(self.steps):
            self.log["asked"].append(time.perf_counter())
            batch = next(endless)
            self.log["had"].append(time.perf_counter())
            yield batch
        self.log["asked"].append(time.perf_counter())
        self.log["peaks"]["trained"] = memory()

    def save(self, folder: Path, metrics: dict[str, float]) -> None:
        self.log["peaks"]["validated"] = memory()
        super().save(folder, metrics)


def train_some(config: EncoderConfig, steps: int, threads: int) -> dict:
    """(seconds, seconds waited for data) of steps, each epoch's first left out, and peaks in the course of training."""
    torch.set_num_threads(threads)
    log: dict = {}
    timed = patch.object(encoder.train, "EncoderStage", partial(TimedStage, log, steps))
    with tempfile.TemporaryDirectory() as run, timed:
        encoder.train.train(config, Path(run))
    pairs = np.stack([np.diff(log["asked"]), np.subtract(log["had"], log["asked"][:-1])], axis=1)
    inner = np.arange(steps) % log["epoch"] > 0
    return {"steps": pairs[inner].tolist(), "peaks": log["peaks"] | {"end": memory()}}


def anet_config(folder: Path, n: int, args: argparse.Namespace) -> EncoderConfig:
    """The published configuration on simulated data, for a single epoch."""
    config = configuration.load(EncoderConfig, ROOT / "configs/encoder/paper2020/anet.yaml")
    data = simulate(folder, n, args.frames, (args.width, config.model.text_dim), "train", "train", "val_1")
    paths = [f"data.{name}={getattr(data, name)}" for name in ("meta", "video_features", "text_features")]
    changes = (f"model.video_dim={args.width}", f"batch_size={args.batch_size}", "loop.epochs=1")
    return configuration.override(config, [*paths, *changes])


def bench_memory(folder: Path, args: argparse.Namespace) -> dict:
    """Training on many videos between two trainings on few."""
    few, many = (anet_config(folder, n, args) for n in (args.fitting, args.videos))
    before, run, after = (in_child(train_some, config, args.steps, args.threads) for config in (few, many, few))
    print(f"\n{'training':15}{'s a step':>9}{'waiting':>9}   peak GB: {', '.join(run['peaks'])}")
    result = {"few": training(args.fitting, before, after), "many": training(args.videos, run)}
    result["step_ratio"] = result["many"]["step_s"] / result["few"]["step_s"]
    print(f"a step takes {result['step_ratio']:.2f} times as long")
    return result


def training(n: int, *runs: dict) -> dict:
    """Print and return the figures of the trainings ``runs`` on ``n`` videos."""
    seconds, waited = np.array([step for run in runs for step in run["steps"]]).T
    step, waiting, peaks = float(np.median(seconds)), float(waited.sum() / seconds.sum()), runs[-1]["peaks"]
    print(f"{n:8,} videos{step:9.3f}{waiting:9.1%}  " + "".join(f"{peak:9.2f}" for peak in peaks.values()))
    return {"videos": n, "step_s": step, "waiting": waiting, "peak_gb": peaks}


@contextmanager
def watched(module: ModuleType, *names: str, **replaced: Callable) -> Iterator[dict[str, float]]:
    """Memory in use after ``module`` has called each of its functions ``names``; others are ``replaced``."""
    found = {"": memory("VmRSS")}

    def noted(name: str, call: Callable, *arguments, **options):
        result = call(*arguments, **options)
        found[name] = memory("VmRSS")
        return result

    with patch.multiple(module, **{name: partial(noted, name, getattr(module, name)) for name in names}, **replaced):
        yield found


def embed_some(folder: Path, data: DataConfig, threads: int) -> dict:
    """Embed all videos of ``data`` with a tiny encoder to ``folder/embeddings.h5``."""
    torch.set_num_threads(threads)
    sizes = {"video_dim": SMALL_WIDTH, "text_dim": SMALL_WIDTH, "hidden_size": 16, "ff_size": 16, "af_hidden": 16}
    config = EncoderConfig(model=ModelConfig(**sizes, heads=2), data=data)
    save_encoder(folder / "encoder", build_encoder(config.model), config, "# random\n")
    started = time.perf_counter()
    with watched(encoder.embed, "open_split", "write_embeddings", evaluate=lambda _: {}) as parts:
        encoder.embed.embed_split(folder / "encoder", "train", folder / "embeddings.h5")
    return {"seconds": time.perf_counter() - started, "peak": memory(), "parts": parts}


def caption_some(folder: Path, threads: int) -> dict:
    """Caption all videos of ``folder/embeddings.h5`` with a tiny captioner and write the submission."""
    torch.set_num_threads(threads)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "word_vec_size": 16, "video_feature_size": 64, "max_t_len": 12}
    vocabulary = Vocabulary(WORDS[:93])
    model = captioner_config.ModelConfig(vocab_size=len(vocabulary), n_heads=2, **sizes)
    config = captioner_config.CaptionerConfig(model, captioner_config.DataConfig(features="vidclipctx"))
    save_captioner(build_captioner(model), vocabulary, config, folder / "captioner", "# random\n")
    started = time.perf_counter()
    with watched(captioner.caption, "caption_items", "submission") as parts:
        captions = captioner.caption.caption_file(folder / "captioner", folder / "embeddings.h5")
    write_submission(folder / "captions.json", captions)
    return {"seconds": time.perf_counter() - started, "peak": memory(), "parts": parts}


def bench_flat(folder: Path, args: argparse.Namespace) -> dict:
    """Both stages at each size."""
    found: dict[str, list[dict]] = {"embed": [], "caption": []}
    for n in args.sizes:
        data = simulate(folder, n, SMALL_FRAMES, (SMALL_WIDTH, SMALL_WIDTH), "train")
        with tempfile.TemporaryDirectory() as run:
            found["embed"].append(in_child(embed_some, Path(run), data, args.threads))
            found["caption"].append(in_child(caption_some, Path(run), args.threads))
    print(f"\n{'':8}" + "".join(f"{n:>15,} videos" for n in args.sizes))
    return {name: flatness(name, runs, args.sizes) for name, runs in found.items()}


def flatness(name: str, runs: list[dict], sizes: list[int]) -> dict:
    """Print and return seconds a video, peaks, and the growth from the smallest size to the largest."""
    rates = [run["seconds"] / n for run, n in zip(runs, sizes, strict=True)]
    peaks = [run["peak"] for run in runs]
    print(f"{name:8}" + "".join(f"{1e3 * s:10.2f} ms {peak:5.2f} GB" for s, peak in zip(rates, peaks, strict=True)))
    first, last, more = runs[0]["parts"], runs[-1]["parts"], (sizes[-1] - sizes[0]) / 1e9
    growth = {"peak": (peaks[-1] - peaks[0]) / more}
    growth |= {PARTS[b]: (last[b] - last[a] - first[b] + first[a]) / more for a, b in pairwise(first)}
    print("        bytes a video: " + ", ".join(f"{part} {n:,.0f}" for part, n in growth.items()))
    ratios = {"video_ratio": rates[-1] / rates[0], "bytes_a_video": growth}
    return {"videos": sizes, "video_s": rates, "peak_gb": peaks, **ratios}


def launch(config: EncoderConfig, steps: int, processes: int, threads: int) -> float:
    """Median seconds of the ``steps`` steps of an epoch in a training as a user starts it, without the first epoch."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "ACCELERATE_USE_CPU": "true"}
    with tempfile.TemporaryDirectory() as run:
        configuration.save(config, Path(run) / "config.yaml")
        script = [str(ROOT / "scripts" / "train_encoder.py"), f"{run}/config.yaml", "--out", f"{run}/encoder"]
        subprocess.run([sys.executable, *several, *script], env=environment, check=True, stdout=subprocess.DEVNULL)
        lines = (Path(run) / "encoder" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return statistics.median(json.loads(line)["train_seconds"] for line in lines[1:]) / steps


def bench_scaling(folder: Path, args: argparse.Namespace) -> dict:
    """The same joint batches with and without a second process."""
    changes = (f"loop.epochs={EPOCHS}", f"loop.validate_from={EPOCHS}")
    config = configuration.override(anet_config(folder, args.fitting, args), changes)
    steps = math.ceil(math.ceil(args.fitting * 2 / 3) / args.batch_size)
    found = {name: launch(config, steps, *how) for name, how in LAUNCHES.items()}
    one, threads, processes = found.values()
    print(f"\n{'':22}{'s a step':>9}{'speed-up':>10}{'efficiency':>12}")
    for name, seconds in found.items():
        print(f"{name:22}{seconds:9.3f}{one / seconds:10.2f}{one / seconds / math.prod(LAUNCHES[name]):12.0%}")
    efficiency = {"threads_efficiency": one / threads / 2, "processes_efficiency": one / processes / 2}
    return {"step_s": found, **efficiency, "processes_vs_threads": threads / processes}


BENCHES = {"memory": bench_memory, "flat": bench_flat, "scaling": bench_scaling}


def parse() -> argparse.Namespace:
    """Options; sizes that are not given are those of the full or the quick run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="500 videos, 10 steps; 300, 1,000 and 3,000 small videos")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=BENCHES, default=list(BENCHES))
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="where data are kept")
    parser.add_argument("--clean", action="store_true", help="delete the data afterwards")
    parser.add_argument("--videos", type=int, help="videos of the large data set, a third of them for validation")
    parser.add_argument("--fitting", type=int, default=288, help="videos of the small one (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=500, help="frames of a video (default: %(default)s)")
    parser.add_argument("--width", type=int, default=2048, help="numbers of a frame (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="training steps on either")
    parser.add_argument("--batch-size", type=int, default=64, help="videos in a batch (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of small videos, two or more, rising")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    return argparse.Namespace(**((QUICK if given["quick"] else FULL) | given))


def main() -> None:
    multiprocessing.set_forkserver_preload(["captioner.caption", "encoder.train"])
    folder = (args := parse()).scratch / "cootmart-scale"
    result = {name: BENCHES[name](folder, args) for name in args.only}
    if args.clean:
        shutil.rmtree(folder)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
