"""`cootmart check-data` lists every problem at once, and describes what is in order."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cootmart.cli import main
from encoder.config import EncoderConfig, ModelConfig
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, write_tiny
from training import config as configuration


@pytest.fixture
def written(tmp_path):
    data = write_tiny(tmp_path)
    config = EncoderConfig(model=ModelConfig(video_dim=VIDEO_DIM, text_dim=TEXT_DIM), data=data)
    configuration.save(config, tmp_path / "c.yaml")
    return tmp_path, data


def test_a_table_of_what_there_is(written, capsys):
    folder, _ = written
    assert main(["check-data", str(folder / "c.yaml")]) == 0
    heading, train, val = capsys.readouterr().out.splitlines()
    assert " ".join(heading.split()) == (
        "split videos clips clips/video seconds/clip words/sentence cut at end frames/s"
    )
    assert train.split() == ["train", "5", "9", "1-3", "2.2", "4.0", "0", "5.00-5.00"]
    assert val.split()[:3] == ["val", "2", "6"]


def test_annotations_alone(written, capsys):
    _, data = written
    assert main(["check-data", data.meta]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["train", "5"]


def test_every_problem_is_listed(written, capsys):
    folder, data = written
    meta = json.loads(Path(data.meta).read_text(encoding="utf-8"))
    meta["v0"]["segments"][0]["start_sec"] = 99
    meta["v2b"] = meta["v2"] | {"duration_sec": 13.0}
    Path(data.meta).write_text(json.dumps(meta), encoding="utf-8")
    with h5py.File(data.video_features, "a") as file:
        del file["v1"]
        file["v2"][3, 0] = np.nan
        del file["v3"]
        file["v3"] = np.ones((4, 7), np.float32)
    assert main(["check-data", str(folder / "c.yaml"), "data.val_split=test"]) == 2
    shown = capsys.readouterr()
    problems = shown.err.splitlines()
    for expected in (
        f"{data.meta}: v0: segment 0: start_sec 99 lies outside the video",
        f"{data.meta}: no video of split 'test'; found train, val",
        f"{data.meta}: v2b: duration_sec 13, but 12 in v2, which has the same data_key 'v2'",
        f"{data.meta}: v0: segment 0: stop_sec 2.25 lies before start_sec 99",
        f"{data.video_features}: no features of 'v1'; make them",
        f"{data.video_features}: v2: row 3 holds NaN or infinity",
        f"{data.video_features}: v3: features have width 7, expected 6",
        f"{data.text_features}: no features of 'v2b'",
    ):
        assert sum(problem.startswith(expected) for problem in problems) == 1, expected
    assert problems[-1] == "cootmart: 8 problems" and shown.out == ""


def test_widths_are_those_of_the_model(written, capsys):
    folder, data = written
    wrong = ["model.video_dim=512", "model.text_dim=300"]
    assert main(["check-data", str(folder / "c.yaml"), *wrong]) == 2
    problems = [line for line in capsys.readouterr().err.splitlines() if "have width" in line]
    assert problems[0].startswith(f"{data.video_features}: v0: features have width 6, expected 512")
    assert len(problems) == 7 + 7


def test_missing_files(written, capsys):
    folder, data = written
    for name in (data.video_features, data.text_features):
        Path(name).unlink()
    assert main(["check-data", str(folder / "c.yaml")]) == 2
    assert capsys.readouterr().err.count("no such file") == 2
    assert main(["check-data", str(folder / "none.json")]) == 2
    assert "none.json: no such file" in capsys.readouterr().err
    assert main(["check-data", data.meta, "--video-features", str(folder / "x.h5")]) == 2
    assert "x.h5: no such file" in capsys.readouterr().err
