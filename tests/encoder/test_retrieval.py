import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoder.retrieval import best_epoch_score, both_directions, nearest, ranks, retrieve
from tests.golden_cases import cases
from training.errors import CootmartError


def golden():
    for path in cases("coot", "retrieval*.json"):
        tensors = load_file(path.with_suffix(".safetensors"))
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, expected in ((k, v) for k, v in found.items() if isinstance(v, dict)):  # not its notes
            yield pytest.param(tensors[f"{name}/a"], tensors[f"{name}/b"], expected, id=f"{path.stem}-{name}")


GOLDEN = list(golden())


def test_there_are_cases():
    assert GOLDEN


@pytest.mark.golden
@pytest.mark.parametrize(("a", "b", "expected"), GOLDEN)
def test_published_retrieval(a, b, expected):
    assert ranks(a, b).tolist() == expected["ranks_a2b"]
    assert ranks(b, a).tolist() == expected["ranks_b2a"]
    scores = both_directions(a, b, "vid2par", "par2vid")
    for ours, theirs in (("vid2par", "a2b"), ("par2vid", "b2a")):
        for field in ("r1", "r5", "r10", "r50", "medr", "meanr"):
            assert scores[f"{ours}-{field}"] == pytest.approx(expected[theirs][field], abs=1e-9)
    assert best_epoch_score(scores, "video_paragraph") == pytest.approx(expected["mean_r1"], abs=1e-9)


def test_more_queries_than_one_block():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2100, 3)).astype(np.float32)
    b = a + rng.standard_normal(a.shape).astype(np.float32)
    x, y = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a.astype(np.float64), b.astype(np.float64)))
    similarity = x @ y.T
    expected = (similarity > np.diag(similarity)[:, None]).sum(1)
    assert np.abs(ranks(a, b) - expected).max() <= 1  # float32 against float64


def test_equal_embeddings_give_chance_level():
    same = np.ones((10, 4), np.float32)
    assert retrieve(same, same).r1 == pytest.approx(0.1)
    assert sorted(ranks(same, same)) == list(range(10))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_meaningless_embeddings_are_refused(value):
    x = np.ones((3, 2), np.float32)
    x[1] = value
    with pytest.raises(CootmartError, match="embeddings to be ranked"):
        ranks(x, np.ones((3, 2), np.float32))


def test_sizes_must_agree():
    with pytest.raises(CootmartError, match=r"\(3, 2\)"):
        ranks(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32))


def test_nearest():
    x = np.array([[1, 0], [0, 2], [3, 3], [-1, 0]], np.float32)
    rows, similarity = nearest(np.array([0.1, 5], np.float32), x, 2)
    assert rows.tolist() == [1, 2]
    assert similarity[0] == pytest.approx(0.9998, abs=1e-4)
    assert len(nearest(x[0], x, 99)[0]) == 4
