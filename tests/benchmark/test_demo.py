"""``cootmart benchmark demo`` on a handful of rendered videos, and killed at random moments."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from cootmart.benchmark.run import run_suite, with_choices
from cootmart.benchmark.suites import find_suite, load_suite
from cootmart.demo.benchmark import memory_counts, prepare_demo
from cootmart.demo.probes import again_f1, hidden_accuracy, load_probes
from evaluation.significance import score
from tests.benchmark.tiny import write_data, write_suite
from tests.test_end_to_end import TINY

ROOT = Path(__file__).parents[2]
SMALL = [*TINY, "videos.train=12", "videos.val=3", "videos.test=6", "captioner.loop.epochs=1", "encoder.loop.epochs=1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    table = run_suite(with_choices(load_suite(find_suite("demo"), SMALL), 1, ""), out, "cootmart benchmark demo")
    assert table.complete
    return out


def test_four_captioners_of_one_encoder(finished):
    result = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert list(result["rows"]) == ["MART", "MART without recurrence", "Vanilla transformer", "Transformer-XL"]
    assert len(list(finished.glob("encoders/*/seed0/finished.json"))) == 1
    assert len(list(finished.glob("captioners/*/seed0/finished.json"))) == 4
    for line in result["lines"]:
        assert {"Bleu_4", "METEOR", "CIDEr", "re4", "hidden_colour", "hidden_shape", "again_f1"} == set(
            line["cells"]
        ) - {"ROUGE_L"}
        assert line["cells"]["hidden_colour"]["low"] is not None
    assert result["rows"]["MART"]["runs"][0]["card"]["split"] == "demo test"
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") > 10
    assert "cootmart benchmark demo" in page


def test_memory_scores_are_those_of_the_probes(finished):
    result = json.loads((finished / "results.json").read_text(encoding="utf-8"))["rows"]["MART"]
    said = json.loads(Path(result["captions"]["0"]).read_text(encoding="utf-8"))["results"]
    texts = {video: [entry["sentence"] for entry in entries] for video, entries in said.items()}
    for video in texts:  # say something right, so that there is something to count
        texts[video] = [f"the red circle moves again {sentence}" for sentence in texts[video]]
    probes = load_probes(finished / "data")
    counts = {name: np.array(list(found.values())) for name, found in memory_counts(texts, probes).items()}
    hidden, again = hidden_accuracy(texts, probes), again_f1(texts, probes)
    assert score("hidden_colour", counts["hidden_colour"].sum(0)) == pytest.approx(hidden.colour)
    assert score("hidden_shape", counts["hidden_shape"].sum(0)) == pytest.approx(hidden.shape)
    assert score("again_f1", counts["again_f1"].sum(0)) == pytest.approx(again.f1)
    assert again.right > 0


def test_other_videos_are_described_anew(finished, tmp_path):
    """Features of other videos under the same keys are not taken for those of these."""
    few = ["videos.train=2", "videos.val=1", "videos.test=1"]
    prepared = prepare_demo(load_suite(find_suite("demo"), few), tmp_path)
    path = prepared.encoder["data"]["video_features"]
    with h5py.File(path) as features:
        first = features["test_0000"][:]
    prepare_demo(load_suite(find_suite("demo"), [*few, "videos.seed=1"]), tmp_path)
    with h5py.File(path) as features:
        second = features["test_0000"][:]
    assert first.shape != second.shape or not np.allclose(first, second)


def scores(out: Path) -> dict:
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))["rows"]
    return {name: [run["metrics"] for run in row["runs"]] for name, row in rows.items()}


def until_done(command: list[str], longest: float, seed: int) -> int:
    """Start ``command`` again and again, killed after 2 s to ``longest``; how often until it ended by itself."""
    moments = random.Random(seed)
    for kills in range(60):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = process.communicate(timeout=moments.uniform(2.0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            continue
        assert process.returncode == 0, said
        return kills
    raise AssertionError("it never came to its end")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["embeddings", "demo"])
def test_goes_on_after_kill_9_at_random_moments(tmp_path, kind, seed):
    """In the end everything is as if nothing had happened: the same scores to the last bit, and no half file."""
    suite, changes = "demo", [*SMALL, "encoder.loop.epochs=3", "captioner.loop.epochs=3"]
    if kind == "embeddings":
        write_data(tmp_path)
        suite, changes = str(write_suite(tmp_path)), ["captioner.loop.epochs=25"]
    command = [sys.executable, "-m", "cootmart", "benchmark", suite, *changes, "--seeds", "1", "--out"]
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], cwd=ROOT, check=True, capture_output=True)
    longest, kills = time.monotonic() - started, 0
    while not kills:  # on a machine that has become faster it may end before it is killed
        shutil.rmtree(tmp_path / "killed", ignore_errors=True)
        kills = until_done([*command, str(tmp_path / "killed")], max(longest, 2.5), seed)
        longest /= 2
    assert scores(tmp_path / "killed") == scores(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob(".*.tmp"))
