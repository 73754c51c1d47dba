"""The boundary network learns what marks a segment, is kept whole, and what else a model folder says of videos."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from encoder.boundaries import FILE, example, frames_of, learn_boundaries, load_boundaries, save_boundaries
from encoder.data.meta import load_meta, select
from encoder.features import statistics
from encoder.features.statistics import FeatureStatistics
from encoder.features.store import open_features
from encoder.unseen import learn_from_videos
from tests.encoder.tiny import write_tiny
from training.errors import CootmartError


def videos(count: int, seed: int = 0):
    """Segments of 6 to 9 frames whose frames lean one way, and pauses of 2 to 4."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        spans, at = [], int(rng.integers(0, 4))
        for _ in range(4):
            stop = at + int(rng.integers(6, 10))
            spans.append((at / 2, stop / 2))
            at = stop + int(rng.integers(2, 5))
        x = rng.standard_normal((at, 8)).astype(np.float32)
        for start, stop in spans:
            x[int(start * 2) : int(stop * 2), 0] += 3
        yield x, at / 2, spans


def test_it_learns_where_segments_start_and_end():
    model = learn_boundaries([example(*video) for video in videos(40)], steps=150)
    hits = 0
    for x, duration, spans in videos(10, seed=1):
        odds = model.log_odds(x)
        assert odds.shape == (len(x), 3)
        labels = example(x, duration, spans).labels
        assert ((odds[:, 0] > 0) == labels[:, 0]).mean() > 0.85
        starts = np.sort(np.argsort(-odds[:, 1])[:4])
        hits += (np.abs(starts - np.flatnonzero(labels[:, 1])) <= 1).sum()
    assert hits > 30  # of 40; about 4 by chance


def test_features_that_say_nothing_are_no_evidence_against_a_start_or_an_end():
    blind = [example(np.zeros((len(x), 8), np.float32), *rest) for x, *rest in videos(40)]
    inside, start, end = learn_boundaries(blind, steps=150).log_odds(np.zeros((400, 8), np.float32))[50:-50].mean(0)
    share = blind[0].labels[:, 0].mean()
    assert inside == pytest.approx(np.log(share / (1 - share)), abs=0.6)
    assert abs(start) < 0.5  # uncorrected: -2.3, a start in 11 frames
    assert abs(end) < 0.5


def test_the_same_seed_gives_the_same_network_and_leaves_torch_alone():
    examples = [example(*video) for video in videos(5)]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two = learn_boundaries(examples, 7, steps=3), learn_boundaries(examples, 7, steps=3)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_labels_and_frames():
    labels = example(np.zeros((10, 2), np.float32), 5.0, [(1.0, 2.5), (4.0, 9.0)]).labels
    assert labels[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    assert np.flatnonzero(labels[:, 1]).tolist() == [2, 8]
    assert np.flatnonzero(labels[:, 2]).tolist() == [4, 9]
    assert frames_of(4.99, 5.0, 5.0, 10) == (9, 9)


def test_it_is_kept_whole(tmp_path):
    model = learn_boundaries([example(*video) for video in videos(3)], steps=2)
    save_boundaries(model, tmp_path)
    x = next(videos(1))[0]
    assert np.array_equal(load_boundaries(tmp_path).log_odds(x), model.log_odds(x))
    assert load_boundaries(tmp_path / "none") is None
    (tmp_path / FILE).write_bytes(b"nonsense")
    with pytest.raises(CootmartError, match=FILE):
        load_boundaries(tmp_path)


def test_a_training_leaves_both_files(tmp_path):
    config = write_tiny(tmp_path)
    train = select(load_meta(config.meta), "train", config.meta)
    learn_from_videos(tmp_path / "model", train, open_features(config.video_features))
    assert load_boundaries(tmp_path / "model").dim == 6
    assert len(FeatureStatistics.load(tmp_path / "model").mean) == 6


def drawn(rng: np.random.Generator, offset: float = 0.0, scale: float = 1.0, frames: int = 30, dim: int = 24):
    return scale * (np.linspace(3, 5, dim) + rng.standard_normal(dim) + rng.standard_normal((frames, dim)) + offset)


def test_features_of_the_same_kind_are_not_called_foreign():
    rng = np.random.default_rng(0)
    found = FeatureStatistics.measure(drawn(rng) for _ in range(200))
    assert [found.oddity(drawn(rng)) for _ in range(200)] == [None] * 200
    assert found.oddity(drawn(rng, frames=1)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"offset": 6.0}, "mean lies"),
        ({"scale": 10.0}, "mean lies"),
        ({"scale": 1 / 255}, "mean lies"),
        ({"dim": 20}, "20 wide"),
    ],
)
def test_features_of_another_kind_are(change, said):
    rng = np.random.default_rng(0)
    found = FeatureStatistics.measure(drawn(rng) for _ in range(50))
    assert said in found.oddity(drawn(rng, **change))


def test_frames_that_vary_too_much_are_foreign():
    rng = np.random.default_rng(0)
    found = FeatureStatistics.measure(drawn(rng) for _ in range(50))
    x = drawn(rng)
    assert "vary" in found.oddity(x.mean(0) + 9 * (x - x.mean(0)))


def test_statistics_are_kept_and_a_damaged_file_is_named(tmp_path):
    rng = np.random.default_rng(0)
    found = FeatureStatistics.measure(drawn(rng) for _ in range(5))
    found.save(tmp_path)
    assert FeatureStatistics.load(tmp_path) == found
    assert FeatureStatistics.load(tmp_path / "none") is None
    (tmp_path / statistics.FILE).write_text(json.dumps({"mean": [1]}), encoding="utf-8")
    with pytest.raises(CootmartError, match="expected mean, deviation"):
        FeatureStatistics.load(tmp_path)
    with pytest.raises(CootmartError, match="found 1 videos"):
        FeatureStatistics.measure([drawn(rng)])
