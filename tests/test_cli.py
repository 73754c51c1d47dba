"""The command: instant help, and one line with exit code 2 for whatever a user gets wrong."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import pytest

from cootmart.cli import COMMANDS, build_parser, main, parse


def test_help_is_instant_and_light():
    code = "import sys, cootmart.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\n"
    code += "print('HEAVY', [m for m in ('torch', 'numpy', 'transformers', 'nltk', 'h5py') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY []" in shown
    assert all(name in shown for name in COMMANDS)


def test_help_takes_less_than_a_third_of_a_second():
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cootmart", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < 0.3 or min(seconds) < 0.3


def test_version_and_module():
    shown = subprocess.run([sys.executable, "-m", "cootmart", "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("cootmart ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "encoder", "none.yaml", "--out", "run"], "none.yaml: no such configuration"),
        (["embed", "none"], "none: no config.yaml"),
        (["caption", "none.mp4", "--model", "none"], "none: no "),
        (["caption", "--model", "none"], "expected video files or --embeddings"),
        (["score", "none.json", "--references", "none.json"], "none.json"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert len(shown) == 1
    assert said in shown[0]
    assert list(tmp_path.iterdir()) == []


def test_unknown_job_and_option():
    for arguments in (["dance"], ["caption", "--speed", "9"], []):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_overrides_may_stand_anywhere():
    words = ["train", "encoder", "a.yaml", "x.y=1", "--out", "run", "z=2"]
    assert parse(build_parser(), words).overrides == ["x.y=1", "z=2"]


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="no such configuration"):
        main(["--debug", "train", "encoder", "none.yaml", "--out", "run"])
