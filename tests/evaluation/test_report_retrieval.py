"""Recall tables, query tables and scatter plots of the report."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from evaluation.errors import EvaluationError
from evaluation.report import render
from evaluation.report_data import Hit, Mark, Report, RetrievalQuery, RetrievalScores, RetrievalTable, Scatter
from evaluation.report_retrieval import chance, query_table, recall_table
from evaluation.report_scatter import PLOT_WIDTH, RADIUS, scatter_plot

HOSTILE = "</title><script>alert(1)</script>\"'&"


def hits(right: int, top: int = 3) -> list[Hit]:
    places = sorted({*range(1, top + 1), right})
    return [Hit(rank, 1 - rank / 10, f"c{rank}", f"text {rank}", rank == right) for rank in places]


def table(*rights: int) -> RetrievalTable:
    return RetrievalTable("Clip → sentence", 50, 3, [RetrievalQuery(f"q{r}", hits(r), f"query {r}") for r in rights])


def rows(html: str) -> list[list[str]]:
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", html)]
    return [[re.sub(r"<.*?>", " ", cell).split() for cell in row] for row in cells]


def test_chance_is_the_mean_over_all_places():
    for n in (1, 4, 5, 60):
        expected = {f"r{k}": sum(rank < k for rank in range(n)) / n for k in (1, 5, 10, 50)}
        assert chance(n) == pytest.approx(expected | {"medr": (n + 1) // 2, "meanr": sum(range(1, n + 1)) / n})


def test_recalls_stand_in_percent_above_chance():
    values = {"r1": 0.5, "r5": 0.75, "r10": 1, "r50": 1, "medr": 1, "meanr": 2.5}
    _, found, level = rows(recall_table(RetrievalScores("Clips", 200, {"Clip → sentence": values})))
    assert [cell[-1] for cell in found[1:]] == ["50.0", "75.0", "100.0", "100.0", "1.0", "2.5"]
    assert level[0] == ["chance,", "of", "200"] and [cell[0] for cell in level[1:3]] == ["0.5", "2.5"]


def test_outcomes_gaps_and_the_right_one():
    parts = query_table(table(1, 1, 3, 4, 40)).split("<details")[1:]
    assert [re.search(r'class="flag (\w+)">([^<]+)', part).groups() for part in parts] == [
        ("right", "✓ first"), ("right", "✓ first"), ("near", "rank 3"), ("wrong", "✗ rank 4"), ("wrong", "✗ rank 40"),
    ]  # fmt: skip
    assert [" open>" in part.split("<summary")[0] for part in parts] == [True, False, True, True, False]
    assert [part.count("✓ right") for part in parts] == [1] * 5
    assert [part.count('class="own') for part in parts] == [1] * 5
    assert ['class="own far"' in part for part in parts] == [False, False, False, False, True]
    assert [cell[0] for cell in [row[0] for row in rows(parts[4])]] == ["Rank", "1", "2", "3", "40"]


@pytest.mark.parametrize("found", [hits(2)[:1], [*hits(2), *hits(2)]])
def test_a_query_has_one_right_hit(found):
    with pytest.raises(EvaluationError, match=r"query 'q': found \d right hits, expected 1"):
        query_table(RetrievalTable("t", 9, 3, [RetrievalQuery("q", found)]))


def plot(*places: tuple[float, float], **changes) -> Scatter:
    marks = [Mark(x, y, ("video", "paragraph")[i % 2], f"g{i // 2}", f"title {i}") for i, (x, y) in enumerate(places)]
    return replace(Scatter("Map", marks, ["g0"], [(0, 1)]), **changes)


def test_marks_keep_their_proportions():
    svg = scatter_plot(plot((0, 0), (3, 1), (3, 0), (0, 1)))
    (x0, y0), (x2, y2) = [tuple(map(float, at)) for at in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)][1:]
    x1, top = (float(v) for v in re.search(r'd="M([\d.]+) ([\d.]+)[^>]*><title>title 1', svg).groups())
    assert y0 == y2 and x1 == x2 and x2 - x0 == pytest.approx(PLOT_WIDTH - 28)
    assert 3 * (y0 - (top + RADIUS + 1)) == pytest.approx(x1 - x0, abs=0.5)
    assert svg.count('class="tie s0"') == 1 and 'data-pair="1"' in svg and 'data-pair="0"' in svg
    assert svg.count('class="mark s0"') == 1 and svg.count('class="mark reference hollow"') == 2  # one in the legend
    assert "other" in svg and "<title>title 3</title>" in svg


def test_one_point_and_none():
    assert 'class="mark' in scatter_plot(plot((2, 2), links=()))
    assert "No points." in scatter_plot(Scatter("Map", []))


def test_many_links_are_not_drawn():
    many = plot(*[(i, i % 7) for i in range(500)], links=[(i, i + 1) for i in range(0, 500, 2)])
    svg = scatter_plot(many)
    assert "tie" not in svg and svg.count("data-pair") == 500


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (plot((0, float("nan")), (1, 1)), "mark 0"),
        (plot((0, 0), (1, 1), links=[(0, 2)]), r"link \(0, 2\), but there are 2 marks"),
        (plot((0, 0), (1, 1), groups=list("abcdefghijk")), "11 groups, expected at most 10"),
    ],
)
def test_bad_plots_are_named(bad, said):
    with pytest.raises(EvaluationError, match=f"plot 'Map'.*{said}"):
        scatter_plot(bad)


def test_hostile_text_stays_text():
    query = RetrievalQuery(HOSTILE, [Hit(1, 1.0, HOSTILE, HOSTILE, True, HOSTILE)], HOSTILE)
    page = render(
        Report(
            "t",
            retrieval_scores=[RetrievalScores(HOSTILE, 9, {HOSTILE: chance(9)})],
            retrievals=[RetrievalTable(HOSTILE, 9, 1, [query], HOSTILE)],
            scatters=[Scatter(HOSTILE, [Mark(0, 0, HOSTILE, HOSTILE, HOSTILE)], [HOSTILE], note=HOSTILE)],
        )
    )
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") > 12
    assert page.count("<script>") == 1
