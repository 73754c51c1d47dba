"""Videos and clips that a new sentence describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from encoder.config import EncoderConfig
from encoder.data.ragged import Ragged
from encoder.embeddings import Embeddings
from encoder.features.words import FORMS, load_words
from encoder.folder import load_encoder
from encoder.model import PairEncoder
from encoder.retrieval import nearest
from training.errors import CootmartError
from training.loop import pick_device


@dataclass(frozen=True)
class Found:
    """Best matches first, each with its cosine similarity."""

    videos: list[tuple[str, float]]
    """(key, similarity) of what the whole paragraph describes"""
    clips: list[list[tuple[str, int, float]]]
    """for each sentence (key, number of the clip from 0, similarity)"""


def embed_text(
    model: PairEncoder, config: EncoderConfig, sentences: Sequence[str], words: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Paragraph (2D,) and sentence embeddings (n, D), not normalised.

    Args:
        sentences: of one paragraph, at least one.
        words: how word features are made; None takes ``config.features.words``.

    Raises:
        CootmartError: that is unknown, or gives words of another width.
    """
    name = words or config.features.words
    if name == "unknown":
        raise CootmartError(
            "features.words of the model is unknown, so a new sentence cannot be encoded; say how the word features "
            f"of its training were made with --words ({FORMS})"
        )
    encoded = load_words(name, sentences).encode(sentences)
    if encoded[0].shape[1] != config.model.text_dim:
        raise CootmartError(
            f"words {name!r}: features are {encoded[0].shape[1]} wide, but the encoder reads {config.model.text_dim}; "
            "use what its training used"
        )
    device = next(model.parameters()).device
    whole, parts = Ragged.cat([np.concatenate(encoded)]), Ragged.cat(encoded)
    with torch.inference_mode():
        text = model.encode_text(whole.to(device), parts.to(device), torch.tensor([len(encoded)], device=device))
    return text.high[0].cpu().numpy(), text.low.cpu().numpy()


class Searcher:
    """An encoder with the embeddings that it wrote.

    Raises:
        CootmartError: either cannot be read.
    """

    def __init__(self, folder: str | Path, embeddings: str | Path, words: str | None = None) -> None:
        self.model, self.config = load_encoder(folder, pick_device())
        self.embeddings, self.words = Embeddings.load(embeddings), words

    def search(self, sentences: Sequence[str], top: int = 5) -> Found:
        """The ``top`` videos that the paragraph of ``sentences`` describes, and the ``top`` clips of each sentence.

        Raises:
            CootmartError: a sentence cannot be encoded, or the embeddings are of another encoder's size.
        """
        if top < 1:
            raise CootmartError(f"top: found {top}, expected at least 1")
        for text in sentences:
            if not text.strip():
                raise CootmartError(f"sentence: found {text!r}, expected words")
        paragraph, each = embed_text(self.model, self.config, sentences, self.words)
        e = self.embeddings
        for name, rows, query in (("vid_emb", e.vid_emb, paragraph), ("clip_emb", e.clip_emb, each[0])):
            if rows.shape[1] != len(query):
                raise CootmartError(
                    f"{e.path}: {name} is {rows.shape[1]} wide, but the encoder writes {len(query)}; give the model "
                    "that wrote this file"
                )
        videos = [(e.keys[i], float(s)) for i, s in zip(*nearest(paragraph, e.vid_emb, top), strict=True)]
        return Found(videos, [self._clips(query, top) for query in each])

    def _clips(self, query: np.ndarray, top: int) -> list[tuple[str, int, float]]:
        e = self.embeddings
        rows, similarities = nearest(query, e.clip_emb, top)
        owners = np.searchsorted(e.starts + e.clip_num, rows, side="right")
        return [
            (e.keys[v], int(row - e.starts[v]), float(s)) for v, row, s in zip(owners, rows, similarities, strict=True)
        ]
