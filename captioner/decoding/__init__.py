"""Writing paragraphs: strategies, and the loop from sentence to sentence."""

from __future__ import annotations

import torch
from torch import Tensor

from captioner.batch import Batch
from captioner.config import DecodingOptions
from captioner.data import pad_text
from captioner.decoding.beam import beam_search
from captioner.decoding.filters import build_filters
from captioner.decoding.greedy import most_probable, one_by_one
from captioner.decoding.sampling import Sampler
from captioner.models import Captioner
from captioner.models.cache import select_rows
from captioner.vocabulary import BOS, EOS

__all__ = ["DecodingOptions", "generate"]


@torch.inference_mode()
def generate(model: Captioner, batch: Batch, options: DecodingOptions | None = None) -> list[list[list[int]]]:
    """Write the paragraphs of a batch; its text is not looked at.

    Returns:
        For each video, in the order of ``batch.names``, for each sentence its word ids, without [BOS] and [EOS].
    """
    options = options or DecodingOptions()
    sampler = Sampler(options.temperature, options.top_p, options.seed, batch.video.device)
    sentences: list[list[int]] = []
    history: list[list[int]] = [[] for _ in batch.names]
    memory = None
    for rows in _chunks(model, batch, options):
        n = rows.stop - rows.start
        video, lengths = batch.video[rows], batch.video_lengths[rows]
        memory = select_rows(memory, torch.arange(n, device=video.device))
        text, text_lengths = _write(model, video, lengths, memory, history, options, sampler)
        words = _words(text, text_lengths)
        sentences += words
        if rows.stop < batch.n_sentences:
            memory = model.remember(video, lengths, text, text_lengths, memory)
            for said, new in zip(history, words, strict=False):
                said += new
    return batch.by_video(sentences)


def _chunks(model: Captioner, batch: Batch, options: DecodingOptions) -> tuple[slice, ...]:
    """Sentences that can be written at the same time."""
    in_order = model.recurrent or options.no_repeat_ngram_in_paragraph
    return batch.step_rows if in_order else (slice(0, batch.n_sentences),)


def _write(
    model: Captioner,
    video: Tensor,
    lengths: Tensor,
    memory: object,
    history: list[list[int]],
    options: DecodingOptions,
    sampler: Sampler,
) -> tuple[Tensor, Tensor]:
    """Text (R, n) and lengths (R,) of R sentences."""
    filters = build_filters(options, history)
    state = model.begin(video, lengths, memory)
    room = model.config.max_t_len
    if options.strategy == "beam":
        longest = min(options.max_length or room, room - 2)
        best = beam_search(model, state, video, filters, options, longest)
        text, text_lengths = pad_text([[BOS, *found[0].words, EOS] for found in best])
        return text.to(video.device), text_lengths.to(video.device)
    longest = min(options.max_length or room, room - 1)
    choose = sampler if options.strategy == "sample" else most_probable
    return one_by_one(model, state, video, filters, longest, choose)


def _words(text: Tensor, lengths: Tensor) -> list[list[int]]:
    rows = zip(text.tolist(), lengths.tolist(), strict=True)
    return [[i for i in row[1:n] if i != EOS] for row, n in rows]
