"""Sampled queries agree with the ranks that the scores count, and the map shows neighbours as neighbours."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from encoder.examples import sample_examples
from encoder.projection import cluster, tsne
from encoder.retrieval import ranks
from training.errors import CootmartError


def pairs(n: int = 60, noise: float = 1.4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n, 6)).astype(np.float32)
    return a, a + noise * rng.standard_normal(a.shape).astype(np.float32)


def test_examples_of_every_outcome():
    a, b = pairs()
    expected = ranks(a, b)
    examples = sample_examples(a, b, top=5, each=3)
    counted = {
        "first": (expected == 0).sum(),
        "near": ((expected > 0) & (expected < 5)).sum(),
        "missed": (expected > 4).sum(),
    }
    assert examples.counts == counted and min(counted.values()) >= 3
    assert [0 if e.rank == 0 else 1 if e.rank < 5 else 2 for e in examples.sampled] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    cosine = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    for e in examples.sampled:
        assert e.rank == expected[e.query]
        assert [place for place, _, _ in e.found] == sorted({*range(5), e.rank})
        assert [row for place, row, _ in e.found if place == e.rank] == [e.query]
        assert [s for *_, s in e.found] == pytest.approx(
            sorted(cosine[e.query])[::-1][:5] + [cosine[e.query, e.query]] * (e.rank > 4)
        )


def test_another_seed_draws_others_and_the_same_seed_the_same():
    a, b = pairs()
    drawn = [[e.query for e in sample_examples(a, b, 5, 3, seed).sampled] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_equal_candidates_are_listed_where_their_rank_says():
    same = np.ones((6, 3), np.float32)
    for e in sample_examples(same, same, top=2, each=6).sampled:
        assert e.found[-1][:2] == (e.rank, e.query) or (e.rank, e.query) in [f[:2] for f in e.found]
        assert e.found[0][1] == 5


def test_fewer_queries_than_asked_for():
    examples = sample_examples(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), top=9, each=5)
    assert examples.counts == {"first": 3, "near": 0, "missed": 0} and len(examples.sampled[0].found) == 3
    with pytest.raises(CootmartError, match="top: found 0"):
        sample_examples(np.eye(3), np.eye(3), top=0, each=1)
    with pytest.raises(CootmartError, match="examples: found 0"):
        sample_examples(np.eye(3), np.eye(3), top=1, each=0)


def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1, 2], [20, 14, 10])
    return np.eye(3, 8)[label] + 0.1 * rng.standard_normal((len(label), 8)), label


def test_neighbours_stay_neighbours_and_the_seed_decides():
    pytest.importorskip("sklearn")
    x, label = blobs()
    places = tsne(x)
    assert places.shape == (44, 2) and np.array_equal(places, tsne(x))
    distance = np.linalg.norm(places[:, None] - places, axis=-1) + np.diag([np.inf] * 44)
    assert (label[distance.argmin(1)] == label).all()
    assert np.array_equal(cluster(x, 3), label)  # numbered by size
    assert len(set(cluster(x[:2], 6).tolist())) == 2


def test_maps_that_mean_nothing_are_refused():
    pytest.importorskip("sklearn")
    with pytest.raises(CootmartError, match="found 3 points, expected at least 8"):
        tsne(np.eye(3))
    with pytest.raises(CootmartError, match="all embeddings are the same"):
        tsne(np.ones((9, 4)))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(CootmartError, match=r"pip install 'cootmart\[report\]'"):
        tsne(np.eye(9))
