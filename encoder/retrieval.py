"""Retrieval between two sets of embeddings whose rows belong together: recall at k, median and mean rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from encoder.data.hdf5 import require_finite
from encoder.embeddings import Embeddings
from training.errors import CootmartError

QUERIES_AT_ONCE = 1024
SCORES = {"clip_sentence": ("cli2sen", "sen2cli"), "video_paragraph": ("vid2par", "par2vid")}


@dataclass(frozen=True)
class Retrieval:
    """How well each query finds its own counterpart among all candidates."""

    r1: float
    """fraction of queries whose counterpart comes first"""
    r5: float
    r10: float
    r50: float
    medr: float
    """median rank, 1 is best"""
    meanr: float
    """mean rank, 1 is best"""


def normalize(x: np.ndarray) -> np.ndarray:
    """Rows of ``x`` (n, D) scaled to length 1.

    Raises:
        CootmartError: a row is NaN, infinite or zero, so that no ranking means anything.
    """
    x = np.asarray(x, np.float32)
    require_finite(x, "embeddings to be ranked")
    norms = np.sqrt((x * x).sum(-1, keepdims=True))
    if not norms.all():
        raise CootmartError("embeddings to be ranked: found a zero vector; was the model trained?")
    return x / norms


def ranks(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """0-based rank of candidate i for query i by cosine similarity -> (n,) int64; both (n, D).

    Of equally similar candidates the later one comes first, as in a reversed stable sort: embeddings that are all the
    same give the chance level, not a perfect score.
    """
    if queries.shape != candidates.shape or not len(queries):
        raise CootmartError(f"retrieval: found shapes {queries.shape} and {candidates.shape}, expected equal ones")
    queries, candidates = normalize(queries), normalize(candidates)
    parts = [_ranks(queries, candidates, at) for at in range(0, len(queries), QUERIES_AT_ONCE)]
    return np.concatenate(parts)


def _ranks(queries: np.ndarray, candidates: np.ndarray, first: int) -> np.ndarray:
    similarity = queries[first : first + QUERIES_AT_ONCE] @ candidates.T  # (q, n)
    own = np.arange(first, first + len(similarity))
    right = similarity[np.arange(len(own)), own][:, None]
    later = np.arange(len(candidates)) > own[:, None]
    return ((similarity > right) | ((similarity == right) & later)).sum(1)


def retrieve(queries: np.ndarray, candidates: np.ndarray) -> Retrieval:
    """Recall and ranks of queries (n, D) among candidates (n, D), row i belonging to row i."""
    found = ranks(queries, candidates)
    recall = [float((found < k).mean()) for k in (1, 5, 10, 50)]
    return Retrieval(*recall, medr=float(np.floor(np.median(found)) + 1), meanr=float(found.mean() + 1))


def both_directions(a: np.ndarray, b: np.ndarray, forth: str, back: str) -> dict[str, float]:
    """Flat scores ``<forth>-r1`` ... ``<back>-meanr`` of a (n, D) against b (n, D) and the reverse."""
    pairs = ((forth, retrieve(a, b)), (back, retrieve(b, a)))
    return {f"{name}-{field}": value for name, result in pairs for field, value in asdict(result).items()}


def evaluate(embeddings: Embeddings) -> dict[str, float]:
    """All scores of an embeddings file: ``vid2par-*``, ``par2vid-*``, ``cli2sen-*``, ``sen2cli-*``.

    Raises:
        CootmartError: the file has no text side.
    """
    if embeddings.par_emb is None or embeddings.sent_emb is None:
        raise CootmartError(f"{embeddings.path}: no par_emb and sent_emb; retrieval needs embeddings of the text too")
    high = both_directions(embeddings.vid_emb, embeddings.par_emb, "vid2par", "par2vid")
    return high | both_directions(embeddings.clip_emb, embeddings.sent_emb, "cli2sen", "sen2cli")


def best_epoch_score(scores: Mapping[str, float], level: str) -> float:
    """Mean R@1 of both directions at ``level``: `clip_sentence` or `video_paragraph`."""
    if level not in SCORES:
        raise CootmartError(f"score: found {level!r}, expected one of {', '.join(SCORES)}")
    return sum(scores[f"{name}-r1"] for name in SCORES[level]) / 2


def nearest(query: np.ndarray, embeddings: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` rows of ``embeddings`` (n, D) most similar to ``query`` (D,), best first.

    Returns:
        Row numbers (k,) and cosine similarities (k,); fewer where n < k.
    """
    if query.shape != embeddings.shape[1:]:
        raise CootmartError(f"nearest: query has shape {query.shape}, expected {embeddings.shape[1:]}")
    similarity = normalize(embeddings) @ normalize(query)  # (n,)
    best = np.argsort(-similarity, kind="stable")[:k]
    return best, similarity[best]
