"""Simulated features and the timed run from features to scores, on a few tiny videos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from encoder.data.meta import load_meta, save_meta
from encoder.features.text import HashedWords, write_word_features
from tests.encoder.tiny import video

ROOT = Path(__file__).resolve().parents[1]


def run_script(*arguments: object) -> str:
    """Standard output of a script that has to succeed."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    counts = (3, 5, 4, 6, 2, 7, 4, 5, 3, 6, 4, 4)
    videos = [video(f"v{i:02}", n, "train" if i < 9 else "val") for i, n in enumerate(counts)]
    save_meta(folder / "meta_all.json", videos)
    write_word_features(folder / "words.h5", videos, HashedWords(40))
    command = ("scripts/simulate_features.py", folder / "meta_all.json", folder / "words.h5", "--dim", 512)
    for name in ("frames.h5", "again.h5"):
        run_script(*command, "--out", folder / name, "--fps", 4)
    return folder


def test_simulated_frames_tell_of_their_sentence(simulated):
    with h5py.File(simulated / "frames.h5") as file, h5py.File(simulated / "again.h5") as again:
        frames = {v.key: file[v.key][:].astype(np.float32) for v in load_meta(simulated / "meta_all.json")}
        assert all(np.array_equal(again[key][:], file[key][:]) for key in file)
    assert frames["v00"].shape == (48, 512), "12 seconds at 4 frames a second"
    first = [x[1:8].mean(0) - x.mean(0) for x in frames.values()]  # "step 0 of ..." in every video
    second = [x[17:24].mean(0) - x.mean(0) for x in frames.values()]
    same = np.mean([np.corrcoef(first[i], first[j])[0, 1] for i in range(12) for j in range(i)])
    other = np.mean([np.corrcoef(first[i], second[j])[0, 1] for i in range(12) for j in range(i)])
    assert same > other + 0.05


def test_speed_run(simulated, tmp_path):
    epochs = ("--encoder-epochs", 1, "--captioner-epochs", 1)
    out = run_script("scripts/speed_run.py", simulated, "--out", tmp_path / "run", *epochs)
    result = json.loads(out.splitlines()[-1])
    assert list(result["seconds"]) == [
        "train the encoder",
        "embed both splits",
        "train MART",
        "write and score the paragraphs",
    ]
    assert result["epochs"] == {"encoder": 1, "mart": 1}
    assert "| train MART, 1 epochs |" in out
    assert json.loads((tmp_path / "run" / "speed_run.json").read_text(encoding="utf-8")) == result


def test_speed_run_without_data_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "scripts/speed_run.py", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "meta_all.json" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
