"""Where the time goes: one bar for each of the heavy jobs, its operations in groups, as a picture and as a table.

python scripts/profile_steps.py --out docs/profile.svg [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bench_captioner
import torch
from bench_captioner import ready_to_write, youcook2_items
from bench_encoder import embedder, network, trainer, youcook2_batch
from torch.profiler import ProfilerActivity, profile

from captioner.config import ModelConfig as CaptionerModelConfig
from captioner.data import collate
from captioner.decoding import generate
from captioner.models import build_model
from encoder.config import ModelConfig
from encoder.model import CootModel
from training.memory import keep_freed_memory

GROUPS = {
    "matrix products": ("mkldnn::_linear", "mm", "addmm", "bmm", "baddbmm", "linear", "scaled_dot_product"),
    "copies": ("copy_", "cat", "index", "gather", "scatter", "fill_", "zero_", "embedding", "where", "masked_fill"),
    "softmax and sums": ("softmax", "sum", "mean", "norm", "max", "topk", "sort", "cumsum", "logsumexp", "std"),
    "optimiser": ("foreach", "lerp_", "addcdiv_", "sqrt", "fused_adam"),
    "one by one": ("mul", "add", "sub", "div", "gelu", "tanh", "sigmoid", "relu", "ge", "addcmul", "neg", "pow", "exp"),
}
COLOURS = ("#3b6fb6", "#8f9aa8", "#5a9a68", "#a75d9a", "#d8b444", "#d9dde3")
REST = "Python, random numbers, the rest"
WARM_UP, REPEATS = 4, 5


def group_of(operation: str) -> str:
    """Name of the group that an operation belongs to."""
    name = operation.removeprefix("aten::").lstrip("_")
    for group, starts in GROUPS.items():
        if any(name.startswith(start) for start in starts):
            return group
    return REST


def shares(work: Callable[[], object]) -> tuple[float, dict[str, float]]:
    """Seconds of one call, and the part of it that each group takes."""
    for _ in range(WARM_UP):
        work()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(REPEATS):
            work()
    events = record.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    parts = dict.fromkeys([*GROUPS, REST], 0.0)
    for event in events:
        parts[group_of(event.key)] += event.self_cpu_time_total / total
    return total / REPEATS / 1e6, parts


def jobs() -> dict[str, Callable[[], object]]:
    """The heavy jobs, at the sizes of the benchmarks."""
    model, batch = CootModel(ModelConfig()), youcook2_batch()
    forward = network("packed", model, batch)
    config = CaptionerModelConfig()
    items = youcook2_items(16, config)
    paragraphs, learner, writer = collate(items), build_model(config), build_model(config).eval()
    ready_to_write(writer, paragraphs)
    return {
        "COOT, training step (64 videos)": trainer(model, forward),
        "COOT, embeddings (64 videos)": embedder(model, forward),
        "MART, training step (16 videos)": bench_captioner.trainer(learner, lambda: learner.loss(paragraphs)[0]),
        "MART, greedy decoding (16 videos)": lambda: generate(writer, paragraphs),
    }


def picture(results: dict[str, tuple[float, dict[str, float]]]) -> str:
    """Stacked bars as SVG."""
    width, left, bar, gap = 860, 250, 26, 16
    body, names = [], list(next(iter(results.values()))[1])
    for i, (job, (seconds, parts)) in enumerate(results.items()):
        y, x = 50 + i * (bar + gap), float(left)
        body.append(f'<text x="{left - 10}" y="{y + 12}" text-anchor="end">{escape(job)}</text>')
        body.append(f'<text x="{left - 10}" y="{y + 25}" text-anchor="end" fill="#667">{seconds:.2f} s</text>')
        for name, colour in zip(names, COLOURS, strict=True):
            size = parts[name] * (width - left - 10)
            title = f"<title>{escape(name)}: {parts[name]:.1%}</title>"
            body.append(f'<rect x="{x:.1f}" y="{y}" width="{size:.1f}" height="{bar}" fill="{colour}">{title}</rect>')
            if parts[name] > 0.06:
                label = f"{parts[name]:.0%}"
                body.append(f'<text x="{x + size / 2:.1f}" y="{y + 17}" text-anchor="middle">{label}</text>')
            x += size
    for i, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        x = 10 + i * 125
        body.append(f'<rect x="{x}" y="14" width="11" height="11" fill="{colour}"/>')
        body.append(f'<text x="{x + 15}" y="24" font-size="10">{escape(name)}</text>')
    height = 50 + len(results) * (bar + gap)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return f'{head} font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(body)}</svg>\n'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="SVG file to write")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    results = {name: shares(work) for name, work in jobs().items()}
    args.out.write_text(picture(results), encoding="utf-8")
    for name, (seconds, parts) in results.items():
        print(f"{name:36}{seconds:7.3f}s  " + ", ".join(f"{part} {share:.0%}" for part, share in parts.items()))
    rounded = {name: {part: round(share, 3) for part, share in parts.items()} for name, (_, parts) in results.items()}
    print(json.dumps(rounded))


if __name__ == "__main__":
    main()
