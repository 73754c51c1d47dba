"""The report: one HTML file that needs nothing else, neither a network nor files beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evaluation.files import write_bytes
from evaluation.report_data import Report
from evaluation.report_histogram import histogram
from evaluation.report_html import Markup, element, join, slug, system_colours
from evaluation.report_retrieval import query_table, recall_table
from evaluation.report_samples import pick_names, sample_card, toolbar
from evaluation.report_scatter import scatter_plot
from evaluation.report_svg import line_chart
from evaluation.report_tables import fact_list, score_card, score_table, system_table, timing_table

# The browser itself refuses whatever is not in the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect width='16' height='16' rx='4' fill='%232f5bd8'/%3E"
    "%3Cpath d='M4 5h8M4 8h8M4 11h5' stroke='white' stroke-width='1.6' stroke-linecap='round'/%3E%3C/svg%3E"
)


def write_report(path: str | Path, report: Report) -> Path:
    """Write ``report`` as one self-contained HTML file.

    Args:
        path: the file; missing folders are made, and a file that is there is replaced when the new one is whole.
        report: what the page shows.

    Returns:
        The path.

    Raises:
        EvaluationError: a frame is no image, or a row of a table has not one value a metric.
    """
    path = Path(path)
    write_bytes(path, render(report).encode("utf-8"))
    return path


def render(report: Report) -> str:
    """The page as text; the same report gives the same text."""
    sections = [(title, build(report)) for title, build in SECTIONS]
    sections = [(title, content) for title, content in sections if content]
    links = [element("a", title, href=f"#{slug(title)}") for title, _ in sections]
    nav = [element("nav", *links, aria_label="Parts of the page")] if len(links) > 1 else []
    main = [
        element("section", element("h2", title), content, id=slug(title), aria_label=title)
        for title, content in sections
    ]
    foot = element("footer", "Made by cootmart", f" on {report.date}" if report.date else "", ". One file, no network.")
    body = element(
        "body", element("a", "Skip to the scores", href="#main", class_="skip"), _header(report), *nav,
        element("main", *main, id="main"), foot, element("script", _asset("report.js")),
    )  # fmt: skip
    return "<!doctype html>\n" + element("html", _head(report), body, lang=report.language) + "\n"


def _asset(name: str) -> Markup:
    return Markup(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _head(report: Report) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href=ICON),
        element("title", report.title),
        element("style", _asset("report.css")),
    )


def _header(report: Report) -> Markup:
    parts = [element("p", "cootmart report", class_="brand"), element("h1", report.title)]
    if report.subtitle:
        parts.append(element("p", report.subtitle, class_="lead"))
    if report.facts:
        parts.append(fact_list(report.facts, "facts"))
    if report.command:
        parts.append(element("pre", element("code", report.command)))
    return element("header", *parts)


def _scores(report: Report) -> Markup:
    colours = system_colours(report)
    cards = [score_card(score, colours) for score in report.scores if score.is_headline]
    others = [score for score in report.scores if not score.is_headline]
    parts = [element("div", *cards, class_="cards")] if cards else []
    parts += [score_table(others)] if others else []
    return join([*parts, *[recall_table(scores) for scores in report.retrieval_scores]])


def _systems(report: Report) -> Markup:
    colours = system_colours(report)
    return join([system_table(table, colours) for table in report.systems])


def _retrieval(report: Report) -> Markup:
    return join([query_table(table) for table in report.retrievals])


def _maps(report: Report) -> Markup:
    plots = [scatter_plot(scatter) for scatter in report.scatters]
    return element("div", *plots, class_="charts two" if len(plots) > 1 else "charts") if plots else Markup("")


def _videos(report: Report) -> Markup:
    if not report.samples:
        return Markup("")
    colours, picks = system_colours(report), pick_names(report.samples)
    cards = [sample_card(sample, i, report, picks, colours) for i, sample in enumerate(report.samples)]
    wrong, repeated = element("u", "wavy line"), element("mark", "background")
    key = element(
        "p", "A ", wrong, ": the word is in no reference of the clip, in any form of it. A ", repeated,
        ": the same four words in a row were said before in the paragraph.", class_="note",
    )  # fmt: skip
    return join([key, toolbar(report, picks, colours), element("div", *cards, id="samples")])


def _distributions(report: Report) -> Markup:
    colours = system_colours(report)
    return join([histogram(distribution, colours) for distribution in report.distributions])


def _curves(report: Report) -> Markup:
    colours = system_colours(report)
    charts = [line_chart(curve, colours) for curve in report.curves]
    css = "charts two" if len(charts) in (2, 4) else "charts"
    return element("div", *charts, class_=css) if charts else Markup("")


def _run(report: Report) -> Markup:
    parts = [timing_table(report.timings)] if report.timings else []
    parts += [element("div", fact_list(report.environment, "environment"), class_="card")] if report.environment else []
    return element("div", *parts, class_="halves") if parts else Markup("")


def _notes(report: Report) -> Markup:
    return join([element("p", note, class_="text") for note in report.notes])


SECTIONS: tuple[tuple[str, Callable[[Report], Markup]], ...] = (
    ("Scores", _scores),
    ("Systems", _systems),
    ("Retrieval", _retrieval),
    ("Map", _maps),
    ("Videos", _videos),
    ("Distribution", _distributions),
    ("Training", _curves),
    ("Time and machine", _run),
    ("Notes", _notes),
)
