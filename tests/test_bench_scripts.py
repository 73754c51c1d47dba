"""The benchmark of growth with the data, on a few tiny videos: it runs, and its figures belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_scripts import run_script

TINY = ("--threads", 1, "--videos", 24, "--fitting", 12, "--frames", 30, "--width", 32, "--steps", 4, "--batch-size", 4)


def bench(folder: Path, *options: object) -> dict:
    """The JSON object at the end of a run that leaves nothing behind."""
    out = run_script("scripts/bench_scale.py", *TINY, "--sizes", 20, 60, "--scratch", folder, *options, "--clean")
    assert not any(folder.iterdir())
    return json.loads(out.splitlines()[-1])


def test_memory_and_cost_of_a_video(tmp_path):
    result = bench(tmp_path, "--only", "memory", "flat")
    assert list(result) == ["memory", "flat"]
    few, many = (result["memory"][name] for name in ("few", "many"))
    assert (few["videos"], many["videos"]) == (12, 24)
    assert result["memory"]["step_ratio"] == pytest.approx(many["step_s"] / few["step_s"])
    for figures in (few, many):
        peaks = list(figures["peak_gb"].values())
        assert list(figures["peak_gb"]) == ["all seen", "trained", "validated", "end"]
        assert peaks[0] > 0.05 and peaks == sorted(peaks)
        assert 0 <= figures["waiting"] < 1
    for stage in ("embed", "caption"):
        found = result["flat"][stage]
        assert found["videos"] == [20, 60] and len(found["peak_gb"]) == 2
        assert found["video_ratio"] == pytest.approx(found["video_s"][1] / found["video_s"][0])
    assert set(result["flat"]["embed"]["bytes_a_video"]) > {"peak", "annotations and keys"}


@pytest.mark.slow
def test_a_second_process(tmp_path):
    scaling = bench(tmp_path, "--only", "scaling")["scaling"]
    one, threads, processes = scaling["step_s"].values()
    assert scaling["processes_vs_threads"] == pytest.approx(threads / processes)
    assert scaling["processes_efficiency"] == pytest.approx(one / processes / 2)
