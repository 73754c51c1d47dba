"""Retrieval scores of the encoder as a card and as counts a video, for `cootmart score` and `cootmart benchmark`."""

from __future__ import annotations

import numpy as np

import cootmart
from cootmart.benchmark.digests import file_sha256
from encoder.embeddings import Embeddings
from encoder.retrieval import evaluate, ranks
from evaluation.retrieval_card import RetrievalCard

RECALLS = (1, 5, 10, 50)


def retrieval_card(embeddings: Embeddings, split: str = "") -> RetrievalCard:
    """All retrieval scores of ``embeddings``.

    Raises:
        CootmartError: the file has no text side.
    """
    return RetrievalCard(
        metrics=evaluate(embeddings),
        counts={"videos": len(embeddings), "clips": int(embeddings.clip_num.sum())},
        split=split or "unnamed split",
        embeddings={"name": embeddings.path, "sha256": file_sha256(embeddings.path)},
        versions={"cootmart": cootmart.__version__, "numpy": np.__version__},
    )


def recall_counts(embeddings: Embeddings) -> dict[str, np.ndarray]:
    """For ``vid2par-r1`` ... ``sen2cli-r50`` hits and queries of each video, (V, 2)."""
    e, videos = embeddings, np.arange(len(embeddings))
    clips = np.repeat(videos, e.clip_num)
    ways = {
        "vid2par": (e.vid_emb, e.par_emb, videos),
        "par2vid": (e.par_emb, e.vid_emb, videos),
        "cli2sen": (e.clip_emb, e.sent_emb, clips),
        "sen2cli": (e.sent_emb, e.clip_emb, clips),
    }
    counts = {}
    for way, (queries, candidates, video) in ways.items():
        found = ranks(queries, candidates)  # (n,)
        total = np.bincount(video, minlength=len(e))
        for k in RECALLS:
            hits = np.bincount(video, found < k, minlength=len(e))
            counts[f"{way}-r{k}"] = np.stack([hits, total], axis=1).astype(np.float64)
    return counts
