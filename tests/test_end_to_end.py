"""The demo from end to end on a handful of videos, and the commands of the README on what it leaves."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cootmart.cli import main

ROOT = Path(__file__).parent.parent
TINY = """
    videos.train=20 videos.val=5 videos.test=5 word_size=16
    encoder.model.hidden_size=16 encoder.model.ff_size=16 encoder.model.af_hidden=16 encoder.model.heads=2
    encoder.loop.epochs=2 encoder.batch_size=8
    captioner.model.hidden_size=16 captioner.model.intermediate_size=16 captioner.model.word_vec_size=16
    captioner.model.n_heads=2 captioner.loop.epochs=2 captioner.loop.validate_from=0 captioner.batch_size=8
""".split()  # noqa: SIM905


def run_demo(folder: Path) -> dict:
    assert main(["demo", "--out", str(folder), *TINY]) == 0
    return json.loads((folder / "scores.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder as a user has it after ``make demo``, but made with few videos and few epochs."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "configs").symlink_to(ROOT / "configs")
    run_demo(folder / "runs" / "demo")
    return folder


def test_demo_leaves_everything(workplace):
    run = workplace / "runs" / "demo"
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    assert set(scores["systems"]) == {"MART", "MART without recurrence"}
    for system in scores["systems"].values():
        assert {"Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re4", "hidden_colour", "again_f1"} <= set(system)
        assert all(0 <= system[name] <= 100 for name in ("Bleu_1", "METEOR", "ROUGE_L", "hidden_colour"))
    assert 0 <= scores["retrieval"]["vid2par-r1"] <= 1
    assert set(scores["videos"].values()) == {20, 5}
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "test_0000" in page
    assert page.count("data:image/jpeg;base64,") > 20
    for folder in ("encoder", "mart", "mart_without_recurrence", "mart/encoder"):
        assert (run / folder / "model.safetensors").exists()


def test_same_seed_same_scores(workplace, tmp_path):
    again = run_demo(tmp_path / "again")
    first = json.loads((workplace / "runs" / "demo" / "scores.json").read_text(encoding="utf-8"))
    for key in ("systems", "retrieval", "per_video_cider"):
        assert again[key] == first[key]


def test_wrong_input_is_one_clear_line(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    (tmp_path / "text.mp4").write_text("not a video", encoding="utf-8")
    meta = json.loads((workplace / "runs/demo/data/meta_all.json").read_text(encoding="utf-8"))
    unknown = meta | {"nowhere": {**meta["train_0000"], "data_key": "nowhere"}}
    empty = json.loads(json.dumps(meta))
    empty["train_0001"]["segments"][1]["text"] = " "
    for name, content in (("unknown", unknown), ("empty", empty)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    train = ["train", "encoder", "runs/demo/encoder/config.yaml", "--out", str(tmp_path / "run")]
    caption = ["--model", "runs/demo/mart"]
    for arguments, said in (
        (["caption", "missing.mp4", *caption], ("missing.mp4", "no such file")),
        (["caption", str(tmp_path / "text.mp4"), *caption], ("text.mp4", "not a video")),
        ([*train, f"data.meta={tmp_path / 'unknown.json'}"], ("frames.h5", "'nowhere'", "take the video out")),
        ([*train, f"data.meta={tmp_path / 'empty.json'}"], ("empty.json", "train_0001", "segment 1", "sentence")),
    ):
        assert main(arguments) == 2
        shown = capsys.readouterr().err
        assert all(part in shown for part in said), shown
        assert "Traceback" not in shown
    assert not (tmp_path / "run").exists()


def commands_of(path: Path) -> list[str]:
    """The command lines of all ``bash`` blocks of a Markdown file."""
    blocks = path.read_text(encoding="utf-8").split("```bash\n")[1:]
    lines = [line for block in blocks for line in block.split("```")[0].replace("\\\n", " ").splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def test_readme_commands_run(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    ran = 0
    for command in commands_of(ROOT / "README.md"):
        words = shlex.split(command)
        if words[0] == "make":
            subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        elif words[0] == "cootmart" and words[1] != "demo":
            assert main([*words[1:]]) == 0, f"{command}\n{capsys.readouterr().err}"
            ran += 1
    assert ran >= 5


def test_readme_python_runs(workplace):
    blocks = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    assert blocks
    for block in blocks:
        code = block.split("```")[0]
        subprocess.run([sys.executable, "-c", code], cwd=workplace, check=True, capture_output=True)
