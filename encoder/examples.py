"""Queries that show what retrieval does well and where it fails, with what they find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoder.retrieval import normalize, ranks
from training.errors import CootmartError

OUTCOMES = ("first", "near", "missed")


@dataclass(frozen=True)
class Example:
    """A query with the candidates it finds."""

    query: int
    """row of the query, and of its counterpart among the candidates"""
    rank: int
    """of the counterpart, from 0"""
    found: list[tuple[int, int, float]]
    """(rank from 0, row, cosine similarity) of the first candidates, and of the counterpart where it comes later"""


@dataclass(frozen=True)
class Examples:
    """Examples of every outcome, and how many queries have it."""

    counts: dict[str, int]
    """of `first`, `near` (not first, but among the first ``top``) and `missed`"""
    sampled: list[Example]
    """in order of their rank"""


def sample_examples(queries: np.ndarray, candidates: np.ndarray, top: int, each: int, seed: int = 0) -> Examples:
    """Draw up to ``each`` queries of every outcome.

    Args:
        queries: (n, D), row i belonging to row i of the candidates.
        candidates: (n, D).
        top: how many candidates of an example are listed; the counterpart is listed wherever it stands.

    Raises:
        CootmartError: ``top`` or ``each`` is below 1, or the embeddings cannot be ranked.
    """
    for name, value in (("top", top), ("examples", each)):
        if value < 1:
            raise CootmartError(f"{name}: found {value}, expected at least 1")
    rank = ranks(queries, candidates)  # (n,)
    rows = {"first": rank == 0, "near": (rank > 0) & (rank < top), "missed": rank >= top}
    rng, chosen = np.random.default_rng(seed), []
    for name in OUTCOMES:
        (of_this,) = np.nonzero(rows[name])
        chosen += rng.choice(of_this, min(each, len(of_this)), replace=False).tolist()
    candidates = normalize(candidates)
    listed = [_example(row, int(rank[row]), queries[row], candidates, top) for row in chosen]
    counts = {name: int(is_so.sum()) for name, is_so in rows.items()}
    return Examples(counts, sorted(listed, key=lambda example: (example.rank, example.query)))


def _example(row: int, rank: int, query: np.ndarray, candidates: np.ndarray, top: int) -> Example:
    similarity = candidates @ normalize(query[None])[0]  # (n,)
    # The counterpart is put at the rank it has in the scores: a product of other shape may round another way.
    others = np.argsort(similarity, kind="stable")[::-1]
    order = np.insert(others[others != row], rank, row)
    places = sorted({*range(min(top, len(order))), rank})
    return Example(row, rank, [(place, int(order[place]), float(similarity[order[place]])) for place in places])
