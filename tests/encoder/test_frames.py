import json

import numpy as np
import pytest

from encoder.data.frames import centre_indices, expand, random_indices, segment_frames, truncated_noise
from tests.golden_cases import cases

CASES = [json.loads(path.read_text(encoding="utf-8")) for path in cases("coot", "frames*.json")]


def entries(kind):
    return [entry for case in CASES for entry in case.get(kind, [])]


@pytest.mark.golden
def test_middle_frames():
    assert entries("sampling")
    for e in entries("sampling"):
        assert centre_indices(e["num_frames"], e["target"]).tolist() == e["eval_indices"], e


@pytest.mark.golden
def test_random_frames():
    assert entries("train_sampling")
    for e in entries("train_sampling"):
        rng = np.random.RandomState(e["numpy_legacy_seed"])
        assert random_indices(e["num_frames"], e["target"], rng).tolist() == e["train_indices"], e


@pytest.mark.golden
def test_expansion():
    assert entries("expansion")
    for e in entries("expansion"):
        found = expand(e["start"], e["stop"], e["num_frames"], e["min_frames"])
        assert found == (e["out_start"], e["out_stop"]), e
        assert (found != (e["start"], e["stop"])) == e["changed"]


@pytest.mark.golden
def test_segments():
    assert entries("segments")
    for e in entries("segments"):
        start, stop = segment_frames(
            e["start_sec"],
            e["stop_sec"],
            e["duration"],
            e["num_frames"],
            e["add_stop_frame"],
            e["expand_segments"],
        )
        assert (start, stop - start) == (e["start_frame"], e["num_frames_seg"]), e


def test_every_segment_inside_the_video_has_frames():
    rng = np.random.default_rng(0)
    for _ in range(500):
        duration, count = rng.uniform(0.1, 300), int(rng.integers(1, 400))
        start, stop = np.sort(rng.uniform(0, duration, 2))
        first, last = segment_frames(start, stop * 1.2, duration, count, 1)
        assert 0 <= first < last <= count


@pytest.mark.parametrize(("count", "most"), [(200, 80), (81, 80), (80, 80), (3, 80), (1, 1)])
def test_random_frames_rise_and_lie_inside(count, most):
    found = random_indices(count, most, np.random.default_rng(0))
    assert len(found) == min(count, most)
    assert (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] < count


def test_noise_is_cut_at_two_standard_deviations():
    noise = truncated_noise((200, 100), 0.01, np.random.default_rng(0))
    assert noise.dtype == np.float32
    assert np.abs(noise).max() <= 0.02
    assert noise.std() == pytest.approx(0.0088, rel=0.02)  # of a normal distribution cut at two
