"""Writing paragraphs: strategies, and the loop from sentence to sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captioner.batch import Batch
from captioner.config import DecodingOptions
from captioner.data import pad_text
from captioner.decoding.beam import beam_search
from captioner.decoding.filters import build_filters
from captioner.decoding.greedy import most_probable, one_by_one
from captioner.decoding.sampling import Sampler
from captioner.decoding.weights import ready_for_few_rows
from captioner.models import Captioner
from captioner.models.cache import select_rows
from captioner.vocabulary import BOS, EOS

__all__ = ["DecodingOptions", "generate", "write_steps"]


@torch.inference_mode()
def generate(model: Captioner, batch: Batch, options: DecodingOptions | None = None) -> list[list[list[int]]]:
    """Write the paragraphs of a batch; its text is not looked at.

    Returns:
        For each video, in the order of ``batch.names``, for each sentence its word ids, without [BOS] and [EOS].
    """
    steps = write_steps(model, batch, options or DecodingOptions())
    return batch.by_video([hypotheses[0] for step in steps for hypotheses in step])


@torch.inference_mode()
def write_steps(model: Captioner, batch: Batch, options: DecodingOptions) -> Iterator[list[list[list[int]]]]:
    """Write the paragraphs of a batch and yield the sentences as they are made.

    Yields:
        For every row of the next sentences of ``batch`` its word ids, and behind them, with beam search or sampling, up
        to ``n_best`` - 1 other ways to say it. A model without recurrence writes all sentences in one step.
    """
    with ready_for_few_rows(model):
        yield from _write_steps(model, batch, options)


def _write_steps(model: Captioner, batch: Batch, options: DecodingOptions) -> Iterator[list[list[list[int]]]]:
    sampler = Sampler(options.temperature, options.top_p, options.seed, batch.video.device)
    history: list[list[int]] = [[] for _ in batch.names]
    memory = None
    for rows in _chunks(model, batch, options):
        n = rows.stop - rows.start
        video, lengths = batch.video[rows], batch.video_lengths[rows]
        memory = select_rows(memory, torch.arange(n, device=video.device))
        begin = partial(model.begin, video, lengths, memory)
        text, text_lengths, others, state = _write(model, begin, video, history, options, sampler)
        words = _words(text, text_lengths)
        yield [[best, *rest] for best, rest in zip(words, others, strict=True)]
        if rows.stop < batch.n_sentences:
            memory = model.remember(video, lengths, text, text_lengths, memory, state)
            for said, new in zip(history, words, strict=False):
                said += new


def _chunks(model: Captioner, batch: Batch, options: DecodingOptions) -> tuple[slice, ...]:
    """Sentences that can be written at the same time."""
    in_order = model.recurrent or options.no_repeat_ngram_in_paragraph
    return batch.step_rows if in_order else (slice(0, batch.n_sentences),)


def _write(
    model: Captioner,
    begin: Callable[[], Any],
    video: Tensor,
    history: list[list[int]],
    options: DecodingOptions,
    sampler: Sampler,
) -> tuple[Tensor, Tensor, list[list[list[int]]], Any]:
    """Text (R, n) and lengths (R,) of R sentences, other ways to say each of them, and the state if it is of use."""
    filters = build_filters(options, history)
    room = model.config.max_t_len
    if options.strategy == "beam":
        longest = min(options.max_length or room, room - 2)
        best = beam_search(model, begin(), video, filters, options, longest)
        text, text_lengths = pad_text([[BOS, *found[0].words, EOS] for found in best])
        others = [[list(other.words) for other in found[1:]] for found in best]
        return text.to(video.device), text_lengths.to(video.device), others, None
    longest = min(options.max_length or room, room - 1)
    choose = sampler if options.strategy == "sample" else most_probable
    text, text_lengths, state = one_by_one(model, begin(), video, filters, longest, choose)
    more = (one_by_one(model, begin(), video, filters, longest, choose)[:2] for _ in range(options.n_best - 1))
    drawn = [_words(text, text_lengths), *(_words(*other) for other in more)]
    others = [_different(hypotheses)[1:] for hypotheses in zip(*drawn, strict=True)]
    return text, text_lengths, others, state


def _different(hypotheses: Iterable[list[int]]) -> list[list[int]]:
    """Each hypothesis once, in their order."""
    return [list(words) for words in dict.fromkeys(map(tuple, hypotheses))]


def _words(text: Tensor, lengths: Tensor) -> list[list[int]]:
    rows = zip(text.tolist(), lengths.tolist(), strict=True)
    return [[i for i in row[1:n] if i != EOS] for row, n in rows]
