"""Training step and decoding of MART on YouCook2-sized batches, against the same model computed as it was published.

Published here means: every video is padded to the longest paragraph of the batch with filler sentences, every sentence
to all its positions, the sentences run one step after the other and all positions go through the vocabulary head;
decoding runs the whole joint sequence again for every word and never stops early. Both sides have the same blocks and
weights, take turns in the same run, and have to give the same loss and the same words.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from captioner.batch import Batch, next_tokens
from captioner.config import DecodingOptions, ModelConfig
from captioner.data import Annotation, Item, collate, pad_text
from captioner.decoding import generate
from captioner.loss import smoothed_loss
from captioner.models import build_model
from captioner.models.cache import Rows
from captioner.models.embeddings import video_ids
from captioner.models.joint import JointInput
from captioner.models.mart import Mart
from captioner.models.packing import Packing
from captioner.vocabulary import BOS, EOS, PAD, UNK
from training.ema import ExponentialMovingAverage
from training.memory import keep_freed_memory
from training.optim import OptimizerConfig, build_optimizer

MEAN_WORDS = 9.0  # of a YouCook2 sentence; about 7.7 sentences a video


def youcook2_items(n_videos: int, config: ModelConfig) -> list[Item]:
    """Random videos with the sentence counts and lengths of YouCook2, at most 12 sentences as in training."""
    rng = np.random.default_rng(0)
    items = []
    for i, n in enumerate(np.clip(rng.normal(7.7, 2.2, n_videos).round(), 3, 12).astype(int)):
        lengths = np.clip(rng.normal(MEAN_WORDS, 3.7, n).round(), 2, config.max_t_len - 2).astype(int)
        text = [[BOS, *rng.integers(7, config.vocab_size, length).tolist(), EOS] for length in lengths]
        features = list(rng.standard_normal((n, 1, config.video_feature_size), np.float32))
        items.append(Item(Annotation(f"v{i}", ("",) * n, ((0.0, 1.0),) * n), features, text))
    return items


def pad_paragraphs(items: list[Item], config: ModelConfig) -> list[Item]:
    """Filler sentences, copies of the first video's first one, until all paragraphs are equally long."""
    longest, padded = max(len(item.text) for item in items), []
    for item in items:
        missing = longest - len(item.text)
        features = item.features + items[0].features[:1] * missing
        text = [[*words, *[PAD] * (config.max_t_len - len(words))] for words in item.text + items[0].text[:1] * missing]
        padded.append(Item(Annotation(item.annotation.name, ("",) * longest, ((0.0, 1.0),) * longest), features, text))
    return padded


@dataclass(frozen=True)
class Step:
    """One sentence of every video, all positions of it."""

    video: Tensor  # (B, 1, Dv)
    text: Tensor  # (B, Lt)
    labels: Tensor  # (B, Lt), -1 where there is none


def published_steps(items: list[Item], config: ModelConfig) -> list[Step]:
    """The batch as the published collation has it."""
    padded, steps = pad_paragraphs(items, config), []
    for s in range(len(padded[0].text)):
        video = torch.stack([torch.from_numpy(item.features[s]) for item in padded])
        text, _ = pad_text([item.text[s] for item in padded])
        labels = next_tokens(text, text.ne(PAD).sum(1))
        labels[torch.tensor([len(item.text) <= s for item in items])] = -1
        steps.append(Step(video, text, labels))
    return steps


def run_unpacked(model: Mart, video: Tensor, text: Tensor, memory: list | None) -> tuple[Tensor, list]:
    """Scores (B, Lv + Lt, V) of every position of one sentence a video, and the memory after it."""
    n_rows, n_video, n_text = len(video), model.config.max_v_len, text.shape[1]
    length = n_video + n_text
    lengths = torch.ones(n_rows, dtype=torch.int64)
    batch = Batch.one_step(video, lengths, text, text.ne(PAD).sum(1))
    packing = Packing(n_rows, length, None)
    ids = torch.cat([video_ids(lengths, 1), text], dim=1).flatten()
    features = F.pad(video, (0, 0, 1, length - 2)).flatten(0, 1)  # zeros where there is no feature
    x = model.embeddings(ids, torch.arange(length).repeat(n_rows), features, torch.arange(n_rows * length))
    joint: JointInput = model._input(batch, packing, n_video)
    hidden, memory = model.encoder(x, joint, batch.step_rows, memory)
    return model.scores(hidden).view(n_rows, length, -1), memory


def published_loss(model: Mart, steps: list[Step]) -> Tensor:
    """Sum over the steps of the loss of each."""
    loss, memory = torch.zeros(()), None
    for step in steps:
        scores, memory = run_unpacked(model, step.video, step.text, memory)
        kept = step.labels.ne(-1)
        scores = scores[:, model.config.max_v_len :][kept]
        loss = loss + smoothed_loss(scores, step.labels[kept], model.config.label_smoothing)
    return loss


@torch.inference_mode()
def published_greedy(model: Mart, steps: list[Step]) -> list[list[list[int]]]:
    """Words of every sentence of every video, filler included."""
    memory, written = None, []
    for step in steps:
        text = torch.full_like(step.text, PAD)
        word = torch.full((len(text),), BOS)
        for t in range(text.shape[1]):
            text[:, t] = word
            scores, _ = run_unpacked(model, step.video, text, memory)
            scores = scores[:, model.config.max_v_len + t]
            scores[:, UNK] = -1e10
            word = scores.argmax(1)
        rows = [row[: row.index(EOS) + 1] if EOS in row else row for row in text.tolist()]
        text, _ = pad_text([row + [PAD] * (text.shape[1] - len(row)) for row in rows])
        _, memory = run_unpacked(model, step.video, text, memory)
        written.append([[w for w in row[1:] if w != EOS] for row in rows])
    return [list(sentences) for sentences in zip(*written, strict=True)]


@dataclass
class Recomputed(Rows):
    """Sentences being written, with no cache."""

    video: Tensor
    memory: list | None
    text: Tensor  # (R, t)


class Uncached:
    """MART for beam search that runs the whole sequence again for every word."""

    recurrent = True

    def __init__(self, model: Mart) -> None:
        self.model, self.config = model, model.config

    def begin(self, video: Tensor, lengths: Tensor, memory: list | None) -> Recomputed:
        return Recomputed(video, memory, torch.zeros(len(video), 0, dtype=torch.int64))

    def step(self, state: Recomputed, words: Tensor) -> Tensor:
        state.text = torch.cat([state.text, words[:, None]], dim=1)
        n = state.text.shape[1]
        padded = F.pad(state.text, (0, self.config.max_t_len - n))
        scores, _ = run_unpacked(self.model, state.video, padded, state.memory)
        return scores[:, self.config.max_v_len + n - 1]

    def remember(self, video: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, memory, state=None) -> list:
        return run_unpacked(self.model, video, F.pad(text, (0, self.config.max_t_len - text.shape[1])), memory)[1]


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


def trainer(model: Mart, loss: Callable[[], Tensor]) -> Callable[[], None]:
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


def medians(ours: Callable, published: Callable, turns: int, per_turn: int = 1) -> tuple[float, float]:
    """Median seconds of both: turns of ``per_turn`` runs of ours and one of the published, after a warm-up of ours."""
    seconds: tuple[list[float], list[float]] = ([], [])
    ours()
    for _ in range(turns):
        for work, kept in [(ours, seconds[0])] * per_turn + [(published, seconds[1])]:
            started = time.perf_counter()
            work()
            kept.append(time.perf_counter() - started)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few videos and repeats")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    config = ModelConfig()
    print(f"MART, {config.hidden_size} wide, {config.vocab_size} words, float32, {args.threads} threads")
    print(f"{'':20}{'ours':>10}{'published':>11}{'ratio':>8}")
    results = {"training_step": bench_training(config, 3 if args.quick else 7)}
    model = build_model(config).eval()
    ready_to_write(model, collate(youcook2_items(8, config)))
    jobs = (("greedy", 4, 1), ("beam", 2, 1)) if args.quick else (("greedy", 16, 3), ("greedy", 50, 1), ("beam", 8, 2))
    for kind, n_videos, turns in jobs:
        results[f"{kind}_{n_videos}_videos"] = bench_decoding(model, kind, n_videos, turns)
    print(json.dumps({name: round(value, 2) for name, value in results.items()}))


def bench_training(config: ModelConfig, turns: int) -> float:
    model, items = build_model(config), youcook2_items(16, config)
    batch, steps = collate(items), published_steps(items, config)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.loss(batch)[0], published_loss(model, steps), rtol=1e-4, atol=0)
    ours = trainer(model, lambda: model.loss(batch)[0])
    published = trainer(model, lambda: published_loss(model, steps))
    rows = len(steps) * len(items) * (config.max_v_len + config.max_t_len)
    note = f"16 videos, {batch.n_sentences} sentences, {len(batch.joint_rows)} of {rows} positions"
    return report("training step", medians(ours, published, turns), note)


def bench_decoding(model: Mart, kind: str, n_videos: int, turns: int) -> float:
    items = youcook2_items(n_videos, model.config)
    batch, steps = collate(items), published_steps(items, model.config)
    filler = collate(pad_paragraphs(items, model.config))
    beam = DecodingOptions(strategy="beam", beam_size=4)
    ours, published = {
        "greedy": (lambda: generate(model, batch), lambda: published_greedy(model, steps)),
        "beam": (lambda: generate(model, batch, beam), lambda: generate(Uncached(model), filler, beam)),
    }[kind]
    written: list[list] = []
    seconds = medians(ours, lambda: written.append(published()), turns, per_turn=3)
    found = ours()
    if found != first_sentences(written[0], items):
        raise SystemExit(f"{kind}: cached and published decoding wrote different words")
    lengths = [len(sentence) for video in found for sentence in video]
    note = (
        f"{n_videos} videos, {len(lengths)} sentences of {statistics.mean(lengths):.1f} words, {max(lengths)} at most"
    )
    return report("beam of 4" if kind == "beam" else kind, seconds, note)


def report(name: str, seconds: tuple[float, float], note: str) -> float:
    ours, published = seconds
    print(f"{name:20}{ours:9.3f}s{published:10.3f}s{published / ours:8.1f}  {note}", flush=True)
    return published / ours


if __name__ == "__main__":
    main()
