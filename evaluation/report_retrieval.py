"""Retrieval in a report: recall tables beside chance, and queries with what they found."""

from __future__ import annotations

from collections.abc import Mapping

from evaluation.errors import EvaluationError
from evaluation.report_data import Hit, RetrievalQuery, RetrievalScores, RetrievalTable
from evaluation.report_html import Markup, element, join, number, unseen

COLUMNS = (
    ("r1", "R@1", "queries in % whose own counterpart comes first"),
    ("r5", "R@5", "queries in % whose own counterpart is among the first 5"),
    ("r10", "R@10", "queries in % whose own counterpart is among the first 10"),
    ("r50", "R@50", "queries in % whose own counterpart is among the first 50"),
    ("medr", "MedR", "median rank of the counterpart; 1 is best"),
    ("meanr", "MeanR", "mean rank of the counterpart; 1 is best"),
)


def chance(candidates: int) -> dict[str, float]:
    """What a random order of so many candidates gives on average: recalls as fractions, ranks from 1."""
    recalls = {f"r{k}": min(k, candidates) / candidates for k in (1, 5, 10, 50)}
    return recalls | {"medr": (candidates - 1) // 2 + 1, "meanr": (candidates + 1) / 2}


def recall_table(scores: RetrievalScores) -> Markup:
    """Recalls and ranks of every direction, and chance below them."""
    heads = [element("th", name, scope="col", class_="num", title=meaning) for _, name, meaning in COLUMNS]
    rows = [_recall_row(way, values) for way, values in scores.ways.items()]
    rows.append(_recall_row(f"chance, of {scores.candidates:,}", chance(scores.candidates), css="level"))
    head = element("thead", element("tr", element("th", "Query → found", scope="col"), *heads))
    table = element("table", head, element("tbody", *rows), class_="recalls")
    scroll = element("div", table, class_="scroll", role="region", aria_label=scores.title, tabindex="0")
    return element("div", element("h3", scores.title), scroll, class_="table card")


def _recall_row(name: str, values: Mapping[str, float], css: str | None = None) -> Markup:
    shown = [100 * values[key] if key[1:].isdigit() else values[key] for key, *_ in COLUMNS]
    cells = [element("td", number(value), class_="num") for value in shown]
    return element("tr", element("th", name, scope="row"), *cells, class_=css)


def query_table(table: RetrievalTable) -> Markup:
    """The queries of one direction; each unfolds to its hits, the right one marked. The first of each outcome is open.

    Raises:
        EvaluationError: a query has not one right hit.
    """
    note = [element("p", table.note, class_="note")] if table.note else []
    none = [] if table.queries else [element("p", "No queries.")]
    outcomes = [_outcome(query, table.top) for query in table.queries]
    queries = [
        _query(query, css, words, table.candidates, is_open=css not in [earlier for earlier, _ in outcomes[:i]])
        for i, (query, (css, words)) in enumerate(zip(table.queries, outcomes, strict=True))
    ]
    head = element("div", element("h3", table.title), *note, *none, class_="head")
    return element("article", head, *queries, class_="queries card", aria_label=table.title)


def _outcome(query: RetrievalQuery, top: int) -> tuple[str, str]:
    """CSS class and words: the right one first, among the first ``top``, or further down.

    Raises:
        EvaluationError: the query has no right one, or several.
    """
    right = [hit.rank for hit in query.hits if hit.is_right]
    if len(right) != 1:
        raise EvaluationError(f"query {query.name!r}: found {len(right)} right hits, expected 1")
    if right[0] == 1:
        return "right", "✓ first"
    return ("near", f"rank {right[0]}") if right[0] <= top else ("wrong", f"✗ rank {right[0]:,}")


def _query(query: RetrievalQuery, css: str, words: str, candidates: int, is_open: bool) -> Markup:
    """One query that unfolds."""
    tag = element("span", words, unseen(f" of {candidates}"), class_=f"flag {css}")
    summary = element("summary", element("span", *_described(query.name, query.text)), tag)
    names = (("Rank", "num"), ("Similarity", "num"), ("Found", None))
    head = element("thead", element("tr", *[element("th", name, scope="col", class_=c) for name, c in names]))
    before = [0, *[hit.rank for hit in query.hits]]
    rows = [_hit(hit, hit.rank > last + 1) for hit, last in zip(query.hits, before, strict=False)]
    table = element("table", head, element("tbody", *rows), class_="hits")
    return element("details", summary, table, class_="query", open=is_open)


def _described(name: str, text: str) -> list[Markup]:
    """The text with the name below it, or the name alone."""
    if not text:
        return [element("span", name, class_="text")]
    return [element("span", text, dir="auto", class_="text"), element("small", name)]


def _hit(hit: Hit, is_far: bool) -> Markup:
    marks = [element("span", "✓ right", class_="flag right")] if hit.is_right else []
    marks += [element("span", hit.note, class_="tag")] if hit.note else []
    cells = [
        element("td", f"{hit.rank:,}", class_="num"),
        element("td", number(hit.similarity, 3), class_="num"),
        element("td", join([*_described(hit.name, hit.text), *marks])),
    ]
    css = " ".join(name for name, holds in (("own", hit.is_right), ("far", is_far)) if holds)
    return element("tr", *cells, class_=css or None)
