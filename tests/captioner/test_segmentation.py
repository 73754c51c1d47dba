"""Segments found in features: against brute force, on planted changes, and within the bounds of time and memory."""

from __future__ import annotations

import itertools
import time
import tracemalloc

import numpy as np
import pytest

from captioner.segmentation import (
    LengthPrior,
    best_segments,
    change_points,
    f1_score,
    likeliest_segments,
)
from training.errors import CootmartError


def all_segmentations(count: int, gaps: bool):
    """Every list of segments of ``count`` frames."""
    for n_edges in range(count):
        for inner in itertools.combinations(range(1, count), n_edges):
            parts = list(itertools.pairwise([0, *inner, count]))
            for kept in itertools.product([True, False], repeat=len(parts)) if gaps else [(True,) * len(parts)]:
                yield [part for part, keep in zip(parts, kept, strict=True) if keep]


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_what_trying_everything_finds(gaps, seed):
    count, longest = 8, 5
    table = np.random.default_rng(seed).standard_normal((count + 1, count + 1))
    found = best_segments(count, longest, lambda first, stop: table[first:stop, stop], gaps)
    allowed = (s for s in all_segmentations(count, gaps) if all(b - a <= longest for a, b in s))
    best = max(sum(table[a, b] for a, b in segments) for segments in allowed)
    assert sum(table[a, b] for a, b in found) == pytest.approx(best)
    assert all(b - a <= longest for a, b in found)


def planted(edges: list[int], dim: int = 6, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.standard_normal((len(edges) - 1, dim)), np.diff(edges), axis=0)
    return (levels + noise * rng.standard_normal(levels.shape)).astype(np.float32)


def test_changes_are_found_where_they_are():
    edges = [0, 9, 21, 30, 45]
    found = change_points(planted(edges), 22.5, LengthPrior(5.0, 2.0), weight=5.0)
    assert found == [(a / 2, b / 2) for a, b in itertools.pairwise(edges)]


def test_features_that_say_nothing_are_cut_by_length():
    found = change_points(np.ones((40, 3), np.float32), 20.0, LengthPrior(5.0, 0.5))
    assert len(found) == 4
    assert all(end - start == pytest.approx(5, abs=0.6) for start, end in found)


def test_one_frame_is_one_segment():
    assert change_points(np.ones((1, 3), np.float32), 0.25, LengthPrior(5.0, 0.5)) == [(0.0, 0.25)]
    assert likeliest_segments(np.zeros((1, 3), np.float32), 0.25, LengthPrior(5.0, 0.5)) == [(0.0, 0.25)]


def judged(spans: list[tuple[int, int]], count: int, sure: float = 4.0) -> np.ndarray:
    """Log odds of a judge who knows the segments."""
    odds = np.full((count, 3), -sure)
    for first, stop in spans:
        odds[first:stop, 0] = odds[first, 1] = odds[stop - 1, 2] = sure
    return odds


def test_judgements_are_followed_and_gaps_left_out():
    spans = [(2, 12), (12, 20), (25, 33)]
    found = likeliest_segments(judged(spans, 40), 20.0, LengthPrior(4.5, 1.0))
    assert found == [(a / 2, b / 2) for a, b in spans]


def test_the_length_prior_splits_what_the_judge_saw_as_one():
    odds = judged([(0, 20)], 20, sure=1.0)
    assert len(likeliest_segments(odds, 10.0, LengthPrior(5.0, 0.25))) == 2
    assert len(likeliest_segments(odds, 10.0, LengthPrior(10.0, 2.0))) == 1


def test_a_video_in_which_nothing_is_seen_is_one_segment():
    assert likeliest_segments(judged([], 12, sure=9.0), 6.0, LengthPrior(2.0, 0.5)) == [(0.0, 6.0)]


def test_lengths_twice_and_half_the_mean_are_equally_strange():
    prior = LengthPrior(12.0, 9.0)
    usual, twice, half = prior.strangeness(np.array([12.0, 24.0, 6.0]))
    assert usual == 0
    assert twice == pytest.approx(half)
    assert prior.strangeness(np.array([12.0 * np.exp(prior.sigma)]))[0] == pytest.approx(0.5)


def test_segments_that_follow_each_other_are_not_joined():
    """Judgements that are sure of the inside alone, and know little of where one segment gives way to the next."""
    odds = np.zeros((60, 3), np.float32)
    odds[:, 0] = 3.0
    for edge in (20, 40):
        odds[edge, 1] = odds[edge - 1, 2] = 1.2
    assert likeliest_segments(odds, 60.0, LengthPrior(20.0, 15.0)) == [(0.0, 20.0), (20.0, 40.0), (40.0, 60.0)]


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (-1, 1), (1, -1), (float("nan"), 1)])
def test_lengths_that_make_no_sense(mean, deviation):
    with pytest.raises(CootmartError, match="length of segments"):
        LengthPrior(mean, deviation)


def test_hours_of_video_take_seconds_and_little_memory():
    features = np.random.default_rng(0).standard_normal((14_400, 16), np.float32)  # 4 hours, one a second
    tracemalloc.start()
    started = time.perf_counter()
    found = change_points(features, 14_400.0, LengthPrior(20.0, 15.0))
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 250 < len(found) < 750
    assert peak < 30 * features.nbytes  # a square of frames would be 1.6 GB
    assert seconds < 30


def test_f1():
    annotated = [(0.0, 4.0), (6.0, 10.0)]
    assert f1_score(annotated, annotated, 0.9) == 1
    assert f1_score([(0.0, 4.0)], annotated, 0.9) == pytest.approx(2 / 3)
    assert f1_score([(0.0, 2.0), (6.0, 10.0)], annotated, 0.5) == 1
    assert f1_score([(0.0, 2.0), (6.0, 10.0)], annotated, 0.7) == 0.5
    assert f1_score([(20.0, 21.0)], annotated, 0.3) == 0
