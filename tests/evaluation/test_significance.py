"""Counts give the corpus scores exactly; intervals and p values are right where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation import Scorer
from evaluation.significance import (
    bootstrap,
    counts_for,
    counts_of,
    has_counts,
    holm,
    interval,
    permutation_p,
    resamples,
    score,
)

REFERENCES = [
    {"a": "cut the red onion in half and fry it", "b": "boil the water", "c": "add salt to the water and stir"},
    {"a": "fry half an onion", "b": "heat some water in a pot", "c": "stir in the salt"},
]
SAID = {"a": ["cut the onion.", "cut the onion in half."], "b": ["boil water in the pot"], "c": []}


@pytest.fixture(scope="module")
def scorer():
    with Scorer(REFERENCES) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def card(scorer):
    return scorer.score(SAID)


def test_summed_counts_are_the_corpus_scores(card):
    counts = counts_of(card)
    names = ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re1", "re4", "div2"]
    for name in names:
        assert score(name, counts_for(name, counts).sum(0)) == pytest.approx(card.metrics[name], abs=1e-12)
    assert not has_counts("submission_vocab_size", counts)


def test_a_resample_is_the_score_of_these_videos(scorer, card):
    """Two videos drawn (one of them twice) give what scoring a corpus of them gives."""
    weights = np.array([[2.0, 1.0, 0.0]])
    references = [{"a": r["a"], "a2": r["a"], "b": r["b"]} for r in REFERENCES]
    with Scorer(references, ("Bleu", "METEOR", "ROUGE_L", "repetition")) as again:
        drawn = again.score({"a": SAID["a"], "a2": SAID["a"], "b": SAID["b"]})
    counts = counts_of(card)
    for name in ("Bleu_2", "METEOR", "ROUGE_L", "re1"):  # not CIDEr-D: its document frequencies stay those of the set
        found = bootstrap(name, [counts_for(name, counts)], weights)
        assert found == pytest.approx([drawn.metrics[name]], abs=1e-12)


def test_a_missing_video_is_in_no_mean(scorer):
    card = scorer.score({"a": SAID["a"]})
    counts = counts_for("re1", counts_of(card))
    assert counts[:, 1].tolist() == [1, 0, 0]
    assert score("re1", counts.sum(0)) == pytest.approx(card.metrics["re1"])


def test_counts_are_not_in_the_json(card):
    assert "counts_per_video" not in card.to_json()
    assert set(card.counts_per_video) == {"Bleu", "METEOR"}


def as_counts(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def test_interval_has_the_width_of_theory():
    values = np.random.default_rng(0).normal(3.0, 2.0, 900)
    low, high = interval(bootstrap("CIDEr", [as_counts(values)], resamples(900)))
    half = 1.96 * values.std() / 30
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)


def test_the_same_draws_every_time():
    assert (resamples(7, 50) == resamples(7, 50)).all()
    assert (resamples(7, 50).sum(1) == 7).all()


def test_permutation_of_the_same_is_one_and_of_the_different_is_small():
    random = np.random.default_rng(1)
    a = random.normal(0, 1, 200)
    same, better = a.copy(), a + 0.1 + random.normal(0, 0.2, 200)
    assert permutation_p("CIDEr", [as_counts(a)], [as_counts(same)]) == 1.0
    assert permutation_p("CIDEr", [as_counts(a)], [as_counts(better)]) < 0.01
    assert permutation_p("CIDEr", [as_counts(better)], [as_counts(a)]) < 0.01


def test_permutation_p_is_uniform_where_nothing_differs():
    random = np.random.default_rng(2)
    found = [
        permutation_p("CIDEr", [as_counts(random.normal(0, 1, 40))], [as_counts(random.normal(0, 1, 40))], 200, i)
        for i in range(200)
    ]
    assert 0.02 <= np.mean(np.array(found) < 0.1) <= 0.18
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_permutation_is_exact_on_few_videos():
    """Three videos, all better by the same: of the 8 ways to swap them two are as far, so p is 1/4."""
    a, b = as_counts(np.zeros(3)), as_counts(np.ones(3))
    assert permutation_p("CIDEr", [a], [b], 20000) == pytest.approx(0.25, abs=0.01)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
