"""Retrieval scores through ``cootmart score``, and as counts a video."""

from __future__ import annotations

import hashlib
import json

import pytest

from cootmart.benchmark.retrieval import recall_counts
from cootmart.cli import main
from encoder.embeddings import Embeddings
from encoder.retrieval import evaluate
from evaluation.significance import score
from tests.benchmark.tiny import write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    write_data(folder)
    return folder


def test_card_says_what_it_is_of(folder, tmp_path, capsys):
    out = tmp_path / "card.json"
    assert main(["score", "--embeddings", str(folder / "val.h5"), "--split", "tiny val", "--json", str(out)]) == 0
    card = json.loads(out.read_text(encoding="utf-8"))
    embeddings = Embeddings.load(folder / "val.h5")
    assert card["metrics"] == evaluate(embeddings)
    assert card["counts"] == {"videos": 6, "clips": int(embeddings.clip_num.sum())}
    assert card["split"] == "tiny val"
    assert card["embeddings"]["sha256"] == hashlib.sha256((folder / "val.h5").read_bytes()).hexdigest()
    shown = capsys.readouterr().out
    assert "video -> paragraph" in shown and f"{100 * card['metrics']['sen2cli-r1']:.2f}" in shown


def test_counts_sum_to_the_scores(folder):
    embeddings = Embeddings.load(folder / "train.h5")
    metrics = evaluate(embeddings)
    for name, counts in recall_counts(embeddings).items():
        assert counts.shape == (24, 2)
        assert score(name, counts.sum(0)) == pytest.approx(metrics[name], abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["score"], "expected predictions and --references"),
        (["score", "a.json", "--embeddings", "b.h5"], "or --embeddings alone, not both"),
        (["score", "--embeddings", "none.h5"], "none.h5"),
    ],
)
def test_wrong_arguments(capsys, arguments, said):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
