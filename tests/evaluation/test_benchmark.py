"""The table of a benchmark: its statistics, and that every format says the same."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest

from evaluation.benchmark import COLUMNS, Row, Run, columns_of, tabulate
from evaluation.benchmark_report import build_report, pick_videos
from evaluation.errors import EvaluationError
from evaluation.report import render
from evaluation.retrieval_card import RetrievalCard
from evaluation.tables import comma_separated, count_text, latex, markdown, terminal, time_text

VIDEOS = [f"v{i}" for i in range(60)]


def run(seed: int, mean: float, videos=VIDEOS) -> Run:
    values = np.random.default_rng(7).normal(mean, 0.2, len(videos)) + 0.01 * seed
    counts = {"CIDEr": np.stack([values, np.ones_like(values)], 1)}
    metrics = {"CIDEr": float(values.mean()), "re4": 0.05}
    return Run(seed, metrics, videos, counts, 21_500_000, 755.0, 1234.5)


@pytest.fixture(scope="module")
def table():
    rows = [
        Row("MART_1 & co", [run(0, 0.5), run(1, 0.5)], {"CIDEr": 57.24}, "clip"),
        Row("better|one", [run(0, 0.8), run(2, 0.8)]),
        Row("same", [run(0, 0.5)]),
        Row("paper only", published={"CIDEr": 35.74, "re4": 4.39}),
        Row("absent", problem="missing: data/x.h5"),
    ]
    return tabulate("Table 4", columns_of(["CIDEr", "re4"]), rows)


def cell(table, name: str, metric: str = "CIDEr"):
    return next(line.cells[metric] for line in table.lines if line.name == name and not line.published)


def test_mean_deviation_interval_and_significance(table):
    first, better, same = cell(table, "MART_1 & co"), cell(table, "better|one"), cell(table, "same")
    runs = [100 * run(seed, 0.5).metrics["CIDEr"] for seed in (0, 1)]
    assert first.mean == pytest.approx(np.mean(runs))
    assert first.std == pytest.approx(np.std(runs, ddof=1))
    assert first.low < first.mean < first.high
    assert first.p is None and first.difference is None
    assert better.difference == pytest.approx(better.mean - first.mean)
    assert better.difference_low <= better.difference <= better.difference_high
    assert better.significant and better.p < 0.01
    assert same.std is None and not same.significant
    assert cell(table, "same", "re4").low is None  # no counts, no interval
    assert table.compare_with == "MART_1 & co"
    assert not table.complete


def test_seed_deviation_is_not_hidden_in_the_interval(table):
    """The interval is about videos: of the mean over seeds, so narrower or wider than the deviation over seeds."""
    paired = cell(table, "better|one")
    assert paired.difference_high - paired.difference_low < 0.1  # the same noise on every video cancels in the pair
    assert paired.high - paired.low > 5


def test_rows_of_different_videos_are_refused():
    rows = [Row("a", [run(0, 0.5)]), Row("b", [run(0, 0.5, VIDEOS[:-1])])]
    with pytest.raises(EvaluationError, match="'a' and 'b' were scored on different videos"):
        tabulate("x", columns_of(["CIDEr"]), rows)


def test_unknown_names():
    with pytest.raises(EvaluationError, match="'cider' is unknown, expected some of Bleu_1"):
        columns_of(["cider"])
    with pytest.raises(EvaluationError, match="compare with 'z'"):
        tabulate("x", columns_of(["CIDEr"]), [Row("a", [run(0, 0.5)])], "z")


def test_row_compared_with_did_not_run():
    rows = [Row("base", problem="missing: x"), Row("a", [run(0, 0.5)]), Row("b", [run(0, 0.8)])]
    table = tabulate("x", columns_of(["CIDEr"]), rows, "base")
    assert cell(table, "b").p is None
    assert table.lines[0].cells == {}
    assert "absent" not in comma_separated(table)


def test_markdown(table):
    text = markdown(table)
    assert len({line.count(" | ") for line in text.splitlines() if line.startswith("|")}) == 1
    assert r"MART\_1 & co" in text and r"better\|one" in text
    assert "*57.24*" in text and "(published)" in text
    assert re.search(r"\*\*\d\d\.\d\d† ±\d\.\d\d\*\*<br>\[\d\d\.\d, \d\d\.\d\]", text)
    assert "absent: not run: missing: data/x.h5" in text
    assert "21.5 M" in text and "12:35 min" in text and "1,234" in text


def test_csv_holds_everything_in_full(table):
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert [row["published"] for row in rows] == ["0", "1", "0", "0", "1", "0"]
    assert float(rows[0]["CIDEr"]) == cell(table, "MART_1 & co").mean
    assert float(rows[2]["CIDEr_p"]) == cell(table, "better|one").p
    assert rows[0]["seeds"] == "0 1"
    assert rows[5]["system"] == "absent" and rows[5]["CIDEr"] == ""


def test_latex_is_balanced_and_escaped(table):
    text = latex(table)
    body = text.replace(r"\{", "").replace(r"\}", "")
    assert body.count("{") == body.count("}")
    assert r"MART\_1 \& co" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {2}
    assert not re.search("[†±\u2013↑]", text)
    assert r"\textit{57.24}" in text


def test_terminal(table):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(terminal(table))
    text = console.export_text()
    assert "CIDEr-D ↑" in text and "57.24" in text and "published" in text
    assert "absent: not run: missing: data/x.h5" in text


def test_page_says_it_all(table):
    page = render(build_report(table, command="cootmart benchmark x", per_video={"same": {"v0": 1.0, "v1": 3.0}}))
    for words in ("57.24", "published", "Difference to MART_1 &amp; co", "p &lt; 0.001", "missing: data/x.h5", "1,234"):
        assert words in page
    assert "-0.0<" not in page
    scores = page[page.index("Table 4") :].split("</table>")[0]
    assert set(re.findall(r"<b>([\d.]+)", scores)) == {f"{cell(table, 'better|one').mean:.2f}"}  # of equal R@4 none


def test_picks_are_best_worst_and_random_and_each_video_once():
    scores = {f"v{i:02d}": float(i) for i in range(20)} | {"nan": float("nan")}
    picks = pick_videos(scores, 3)
    assert [v for v, why in picks.items() if why == "best"] == ["v19", "v18", "v17"]
    assert [v for v, why in picks.items() if why == "worst"] == ["v00", "v01", "v02"]
    assert sum(why == "random" for why in picks.values()) == 3
    assert pick_videos(scores, 3) == picks
    assert len(pick_videos({"a": 1.0}, 3)) == 1


def test_short_texts():
    assert [count_text(n) for n in (None, 7204, 14_000, 21_500_000)] == ["", "7204", "14 k", "21.5 M"]
    assert [time_text(s) for s in (None, 41.2, 185, 7450)] == ["", "41 s", "3:05 min", "2:04 h"]


def test_columns_know_their_direction():
    assert COLUMNS["re4"].higher_is_better is False
    assert COLUMNS["CIDEr"].higher_is_better is True
    assert COLUMNS["vid2par-medr"].higher_is_better is False
    assert COLUMNS["vid2par-medr"].scale == 1.0


def test_retrieval_card(tmp_path):
    names = [f"{way}-{field}" for way in ("vid2par", "par2vid", "cli2sen", "sen2cli") for field in
             ("r1", "r5", "r10", "r50", "medr", "meanr")]  # fmt: skip
    card = RetrievalCard(
        dict.fromkeys(names, 0.25), {"videos": 4, "clips": 9}, "val", {"name": "e.h5", "sha256": "ab" * 32}, {}
    )
    card.save(tmp_path / "card.json")
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["counts"] == {"videos": 4, "clips": 9}
