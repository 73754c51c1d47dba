"""The captioners as they were published: every position computed, one sentence step after the other, nothing kept.

Every video is padded to the longest paragraph of the batch with filler sentences (recurrent models only), every
sentence to all its positions, and all positions go through the vocabulary head; decoding runs the whole joint sequence
again for every word. Blocks and weights are those of `captioner.models`; this is the other side of
``bench_captioner.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captioner.batch import Batch, next_tokens
from captioner.config import ModelConfig
from captioner.data import Annotation, Item, pad_text
from captioner.loss import smoothed_loss
from captioner.models import Captioner
from captioner.models.cache import Rows
from captioner.models.embeddings import video_ids
from captioner.models.mart import Mart
from captioner.models.packing import Packing
from captioner.vocabulary import BOS, EOS, PAD, UNK


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
    """The batch as the published collation has it: filler for recurrent models, single sentences for the others."""
    if config.model not in ("mart", "xl", "xlgrad"):
        items = [Item(a.annotation, [f], [t]) for a in items for f, t in zip(a.features, a.text, strict=True)]
    padded, steps = pad_paragraphs(items, config), []
    for s in range(len(padded[0].text)):
        video = torch.stack([torch.from_numpy(item.features[s]) for item in padded])
        text, _ = pad_text([item.text[s] for item in padded])
        labels = next_tokens(text, text.ne(PAD).sum(1))
        labels[torch.tensor([len(item.text) <= s for item in items])] = -1
        steps.append(Step(video, text, labels))
    return steps


def run_unpacked(model: Captioner, video: Tensor, text: Tensor, memory: Any) -> tuple[Tensor, Any]:
    """Scores (B, L, V) of every position of one sentence a video, text at the end, and the memory after it."""
    n_rows, name = len(video), model.config.model
    lengths = torch.ones(n_rows, dtype=torch.int64)
    batch = Batch.one_step(video, lengths, text, text.ne(PAD).sum(1))
    if name == "vanilla":
        steps = torch.arange(text.shape[1]).repeat(n_rows)
        keys = model.video_keys(video, lengths)
        hidden = model.decoder(text.flatten(), steps, Packing(*text.shape, None), keys)
    elif name in ("xl", "xlgrad"):
        hidden, memory = model.run(batch, memory)
    else:
        packing = Packing(n_rows, model.config.max_v_len + text.shape[1], None)
        joint = model._input(batch, packing, model.config.max_v_len)
        x = embed_unpacked(model, video, text)
        if name == "mart":
            hidden, memory = model.encoder(x, joint, batch.step_rows, memory)
        else:
            hidden = model.encoder(x, joint)
    return model.scores(hidden).view(n_rows, -1, model.config.vocab_size), memory


def embed_unpacked(model: Captioner, video: Tensor, text: Tensor) -> Tensor:
    """Embeddings of all positions (B L, D), each with a video feature: zeros where there is none."""
    n_rows, length = len(video), model.config.max_v_len + text.shape[1]
    ids = torch.cat([video_ids(torch.ones(n_rows, dtype=torch.int64), 1), text], dim=1).flatten()
    features = F.pad(video, (0, 0, 1, length - 2)).flatten(0, 1)
    return model.embeddings(ids, torch.arange(length).repeat(n_rows), features, torch.arange(n_rows * length))


def published_loss(model: Captioner, steps: list[Step]) -> Tensor:
    """Sum over the steps of the loss of each."""
    loss, memory = torch.zeros(()), None
    for step in steps:
        scores, memory = run_unpacked(model, step.video, step.text, memory)
        kept = step.labels.ne(-1)
        scores = scores[:, -step.text.shape[1] :][kept]
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

    def __init__(self, model: Mart, beam_size: int) -> None:
        self.beam_size = beam_size
        self.model, self.config, self.modules = model, model.config, model.modules

    def begin(self, video: Tensor, lengths: Tensor, memory: list | None) -> Recomputed:
        return Recomputed(video, memory, torch.zeros(len(video), 0, dtype=torch.int64))

    def step(self, state: Recomputed, words: Tensor) -> Tensor:
        if state.text.shape[1] == 0:  # as published: all hypotheses of a clip, though they are still the same
            for _ in range(self.beam_size - 1):
                self._scores(replace(state), words)
        return self._scores(state, words)

    def _scores(self, state: Recomputed, words: Tensor) -> Tensor:
        state.text = torch.cat([state.text, words[:, None]], dim=1)
        n = state.text.shape[1]
        padded = F.pad(state.text, (0, self.config.max_t_len - n))
        scores, _ = run_unpacked(self.model, state.video, padded, state.memory)
        return scores[:, self.config.max_v_len + n - 1]

    def remember(self, video: Tensor, lengths: Tensor, text: Tensor, text_lengths: Tensor, memory, state=None) -> list:
        return run_unpacked(self.model, video, F.pad(text, (0, self.config.max_t_len - text.shape[1])), memory)[1]
