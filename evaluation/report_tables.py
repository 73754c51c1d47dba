"""The numbers of a report: cards of the headline scores, tables of scores, systems, timings and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from evaluation.errors import EvaluationError
from evaluation.report_data import Metric, Score, SystemRow, SystemTable, Timing
from evaluation.report_html import Markup, duration, element, is_number, join, number, unseen

Colours = Mapping[str, str]


def _arrow(higher_is_better: bool | None) -> Markup:
    if higher_is_better is None:
        return Markup("")
    sign, text = ("↑", "higher is better") if higher_is_better else ("↓", "lower is better")
    return element("span", element("span", sign, aria_hidden="true"), unseen(f" {text}"), class_="arrow", title=text)


def _percent(value: float, full: float) -> str:
    return f"width:{100 * min(max(value / full, 0), 1):.1f}%" if full > 0 else "width:0"


def score_card(score: Score, colours: Colours) -> Markup:
    """A headline score: the number in large type, bars that compare it, and what it means."""
    label = element("h3", score.name, _arrow(score.higher_is_better))
    value = element("p", _value(score), class_=f"value {colours.get(score.system, '')}".strip())
    meaning = [element("p", score.meaning, class_="note")] if score.meaning else []
    return element("div", label, value, *meaning, _compare(score, colours), class_="score-card card")


def _value(score: Score) -> Markup:
    if not is_number(score.value):
        return element("span", "not run", class_="missing")
    unit = [element("small", score.unit)] if score.unit else []
    return join([number(score.value, score.decimals), *unit])


def _compare(score: Score, colours: Colours) -> Markup:
    """Bars of all systems and of the reference level; nothing if there is nothing to compare with."""
    bars = [(score.system or "this run", score.value, colours.get(score.system, "s0"))]
    bars += [(name, value, colours[name]) for name, value in score.others]
    if is_number(score.reference):
        bars.append((score.reference_name, score.reference, "reference"))
    if len(bars) == 1:
        return Markup("")
    full = score.full or max((value for _, value, _ in bars if is_number(value)), default=0)
    items = []
    for name, value, css in bars:
        width = _percent(value, full) if is_number(value) else "width:0"
        bar = element("span", element("i", class_=css, style=width), class_="bar", aria_hidden="true")
        items.append(element("li", element("span", name), element("b", number(value, score.decimals)), bar))
    return element("ul", *items, class_="bars")


def _scroll(table: Markup, label: str) -> Markup:
    """A table that scrolls sideways by itself where it is wider than the page, with the keyboard too."""
    return element("div", table, class_="scroll card", role="region", aria_label=label, tabindex="0")


def score_table(scores: Sequence[Score]) -> Markup:
    """Every score with its meaning and the level to compare it with, one body a group."""
    with_reference = any(is_number(score.reference) for score in scores)
    columns = ["Score", "Value", *(["Compare with"] if with_reference else []), "What it means"]
    cells = [element("th", name, scope="col", class_="num" if name == "Value" else None) for name in columns]
    head = element("thead", element("tr", *cells))
    bodies = []
    for group, members in groupby(scores, key=lambda score: score.group):
        title = element("tr", element("th", group, colspan=len(columns), scope="rowgroup", class_="group"))
        rows = [_score_row(score, with_reference) for score in members]
        bodies.append(element("tbody", *([title] if group else []), *rows))
    return _scroll(element("table", head, *bodies, class_="scores"), "All scores")


def _score_row(score: Score, with_reference: bool) -> Markup:
    value = number(score.value, score.decimals, score.unit)
    css = "num" if is_number(score.value) else "num missing"
    cells = [element("th", score.name, _arrow(score.higher_is_better), scope="row"), element("td", value, class_=css)]
    if with_reference:
        has = is_number(score.reference)
        text = f"{score.reference_name} {number(score.reference, score.decimals, score.unit)}" if has else ""
        cells.append(element("td", text, class_="soft"))
    return element("tr", *cells, element("td", score.meaning, class_="meaning"))


def system_table(table: SystemTable, colours: Colours) -> Markup:
    """Systems by metrics with the best value of each column in bold.

    Raises:
        EvaluationError: a row has not one value a metric.
    """
    for row in table.rows:
        found = len(row.values), len(row.spread), len(row.details)
        if any(n not in (0, len(table.metrics)) for n in found) or len(row.values) != len(table.metrics):
            raise EvaluationError(
                f"table {table.title!r}, row {row.name!r}: found {found[0]} values, {found[1]} spreads and {found[2]} "
                f"details, expected {len(table.metrics)} of each (or no spread, no details)"
            )
    columns = [_Column(metric, [row.values[i] for row in table.rows if not row.is_reference], i)
               for i, metric in enumerate(table.metrics)]  # fmt: skip
    heads = [
        element("th", column.metric.name, _arrow(column.metric.higher_is_better), scope="col", class_="num",
                title=column.metric.meaning or None)
        for column in columns
    ]  # fmt: skip
    head = element("thead", element("tr", element("th", "System", scope="col"), *heads))
    rows = [_system_row(row, columns, colours) for row in table.rows]
    inner = element("table", head, element("tbody", *rows), class_="systems")
    scroll = element("div", inner, class_="scroll", role="region", aria_label=table.title, tabindex="0")
    note = [element("p", table.note, class_="note")] if table.note else []
    return join([element("div", element("h3", table.title), scroll, class_="table card"), *note])


class _Column:
    """A metric with its place and the range of its values over the systems."""

    def __init__(self, metric: Metric, values: Sequence[float | None], index: int) -> None:
        finite = [value for value in values if is_number(value)]
        self.metric, self.index = metric, index
        self.most = max(finite, default=0.0)
        self.best = None
        if len(set(finite)) > 1 and metric.higher_is_better is not None:  # of equal ones none is best
            self.best = (max if metric.higher_is_better else min)(finite)


def _system_row(row: SystemRow, columns: Sequence[_Column], colours: Colours) -> Markup:
    mark = [] if row.is_reference else [element("i")]
    note = [element("small", row.note)] if row.note else []
    cells = [_cell(row, column) for column in columns]
    head = element("th", *mark, row.name, *note, scope="row")
    return element("tr", head, *cells, class_="level" if row.is_reference else f"s {colours[row.name]}")


def _cell(row: SystemRow, column: _Column) -> Markup:
    value = row.values[column.index]
    if not is_number(value):
        return element("td", element("span", "–", aria_hidden="true"), unseen("none"), class_="num soft")  # noqa: RUF001
    text = number(value, column.metric.decimals)
    is_best = value == column.best and not row.is_reference
    parts = [element("b", text, unseen(" best")) if is_best else text]
    spread = row.spread[column.index] if row.spread else None
    if is_number(spread):
        parts.append(element("small", f"± {number(spread, column.metric.decimals)}"))
    if row.details and row.details[column.index]:
        parts += [element("small", text, class_="detail") for text in row.details[column.index].splitlines()]
    if not row.is_reference:
        parts.append(element("i", class_="meter", style=_percent(value, column.most), aria_hidden="true"))
    return element("td", *parts, class_="num")


def timing_table(timings: Sequence[Timing]) -> Markup:
    """Steps with bars of their share of the time, and the total."""
    most, total = max(t.seconds for t in timings), sum(t.seconds for t in timings)
    rows = []
    for timing in timings:
        note = [element("small", timing.note)] if timing.note else []
        bar = element("span", element("i", class_="s0", style=_percent(timing.seconds, most)), class_="bar")
        rows.append(
            element("tr", element("th", timing.step, *note, scope="row"), element("td", bar, aria_hidden="true"),
                    element("td", duration(timing.seconds), class_="num"))
        )  # fmt: skip
    foot = element("tfoot", element("tr", element("th", "total", scope="row"), element("td"),
                                    element("td", duration(total), class_="num")))  # fmt: skip
    head = element("thead", element("tr", *[element("th", unseen(n), scope="col") for n in ("Step", "Share", "Time")]))
    table = element("table", element("caption", "Time of each step"), head, element("tbody", *rows), foot,
                    class_="timings")  # fmt: skip
    return _scroll(table, "Time of each step")


def fact_list(facts: Sequence[tuple[str, str]], css: str) -> Markup:
    """(label, value) pairs as a description list."""
    pairs = [element("div", element("dt", label), element("dd", value)) for label, value in facts]
    return element("dl", *pairs, class_=css)
