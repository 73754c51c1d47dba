"""The shipped suites: every file they name exists, every option is known, the published numbers are the paper's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cootmart.benchmark.digests import Digests, short_digest
from cootmart.benchmark.run import _columns, run_suite, with_choices
from cootmart.benchmark.suites import check_rows, find_suite, load_suite, row_of
from cootmart.cli import main
from cootmart.demo.config import configs_folder
from evaluation.tables import FACTS

COLUMN_WORDS = ("hidden colour", "hidden shape", "again F1", *(name for name, _ in FACTS))
SHIPPED = sorted(path.stem for path in (configs_folder() / "benchmark").glob("*.yaml"))


def test_all_are_there():
    assert SHIPPED == ["ablation", "demo", "table4", "table5"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_is_a_valid_configuration(name):
    suite = load_suite(find_suite(name))
    assert _columns(suite)
    assert suite.compare_with in suite.rows
    check_rows(suite)
    for row in (row_of(suite, row) for row in suite.rows):
        assert set(row.published) <= set(suite.metrics)


@pytest.mark.parametrize("name", ["table4", "table5"])
def test_published_numbers_are_those_in_the_headers_of_the_configurations(name):
    suite = load_suite(find_suite(name))
    checked = 0
    for row in (row_of(suite, row) for row in suite.rows):
        if not row.captioner:
            continue
        header = (Path(suite.folder) / row.captioner).read_text(encoding="utf-8").splitlines()[2]
        b3, b4, meteor, rouge, cider, re4 = (word.strip(",.") for word in header.split() if word[0].isdigit())
        found = {"Bleu_3": b3, "Bleu_4": b4, "METEOR": meteor, "ROUGE_L": rouge, "CIDEr": cider, "re4": re4}
        assert row.published == {metric: float(text) for metric, text in found.items()}, row
        checked += 1
    assert checked >= 6


@pytest.mark.parametrize("name", ["table4", "table5"])
def test_without_data_the_published_table_is_shown(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", name]) == 1
    rows = list(csv.DictReader((tmp_path / "runs/benchmark" / name / "table.csv").open(encoding="utf-8")))
    assert {row["published"] for row in rows} == {"1"}
    assert len(rows) == len(load_suite(find_suite(name)).rows)
    shown = " ".join(capsys.readouterr().out.split())
    assert "not run: missing: data/" in shown and "annotations/" in shown and "data/glove.6B.300d.txt" in shown
    assert {"report.html", "table.md", "table.tex", "results.json"} <= {
        path.name for path in (tmp_path / "runs/benchmark" / name).iterdir()
    }


def test_ablation_compares_encoders_and_scores_them_by_retrieval(tmp_path, monkeypatch):
    """On tiny features, two of the rows: the numbers are those of the embeddings file."""
    monkeypatch.setattr("encoder.train.learn_from_videos", lambda *_: None)  # seconds for what is not scored here
    from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, write_tiny

    data = write_tiny(tmp_path, clips=(1, 2, 3, 2, 1, 4, 2, 3))
    small = {"video_dim": VIDEO_DIM, "text_dim": TEXT_DIM, "hidden_size": 8, "ff_size": 8, "heads": 2, "af_hidden": 8}
    suite = load_suite(find_suite("ablation"), [f"encoder.model.{key}={value}" for key, value in small.items()])
    for key in ("meta", "video_features", "text_features"):
        suite.encoder.setdefault("data", {})[key] = getattr(data, key)
    suite.encoder["loop"] = {"epochs": 1}
    for name in [*suite.rows][1:]:
        if name != "no context":
            del suite.rows[name]
    table = run_suite(with_choices(suite, 2, ""), tmp_path / "out")
    assert table.complete and table.videos == 2
    assert [line.name for line in table.lines] == ["COOT", "COOT", "no context"]
    assert table.lines[0].seeds == [0, 1]
    cell = table.lines[2].cells["cli2sen-r1"]
    assert 0 <= cell.low <= cell.mean <= cell.high <= 100 and cell.p is not None
    assert table.lines[0].cells["vid2par-medr"].low is None
    assert table.lines[0].parameters > table.lines[2].parameters - 1
    assert table.lines[0].sentences_per_second is None


def test_the_suite_of_the_documentation_is_valid(tmp_path):
    text = (configs_folder().parent / "docs" / "benchmark.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    suite = load_suite(path)
    assert len(suite.rows) == 7
    assert _columns(suite)
    assert row_of(suite, "MART, clip only").seeds == (0,)
    for name in COLUMN_WORDS:
        assert name in text


def test_digests_are_of_content_not_of_place(tmp_path):
    digests = Digests(tmp_path / "digests.json")
    (tmp_path / "a.txt").write_text("same", encoding="utf-8")
    (tmp_path / "b.txt").write_text("same", encoding="utf-8")
    assert digests.replaced({"path": str(tmp_path / "a.txt")}) == digests.replaced({"path": str(tmp_path / "b.txt")})
    before = digests.of(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("other", encoding="utf-8")
    assert digests.of(tmp_path / "a.txt") != before
    assert Digests(tmp_path / "digests.json").of(tmp_path / "b.txt") == before
    assert digests.replaced({"features": "clip", "n": 3, "gone": "no/such.h5"}) == {
        "features": "clip",
        "n": 3,
        "gone": "no/such.h5",
    }
    assert short_digest({"a": 1, "b": 2}) == short_digest({"b": 2, "a": 1}) != short_digest({"a": 2, "b": 1})
