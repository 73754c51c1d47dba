"""Histograms of one value a video: a band of bars for each system over a common axis, and its summary."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from evaluation.report_data import Distribution
from evaluation.report_html import Markup, colour, element
from evaluation.report_svg import RIGHT, WIDTH, Axis, make_axis, tick_step, tick_text, value_text, x_ticks

BAND, HEAD = 100, 40  # height of one system, and the part of it above the bars
MAX_BINS = 14


def histogram(distribution: Distribution, colours: Mapping[str, str]) -> Markup:
    """``distribution`` as a ``<figure>`` with a table of mean, median and range; values that are not finite are
    left out of both."""
    title = element("figcaption", element("h3", distribution.title))
    finite = {name: [v for v in given if math.isfinite(v)] for name, given in distribution.values.items()}
    systems = {name: given for name, given in finite.items() if given}
    if not systems:
        return element("figure", title, element("p", "No values."), class_="chart card")
    css = {name: colours.get(name, colour(i)) for i, name in enumerate(systems)}
    axis = make_axis([v for given in systems.values() for v in given], MAX_BINS, (8, WIDTH - RIGHT), True)
    note = [element("p", distribution.note, class_="note")] if distribution.note else []
    side = element("div", _summary(systems, css, axis), *note)
    return element("figure", title, _svg(distribution, systems, css, axis), side, class_="histogram chart card")


def _svg(distribution: Distribution, systems: Mapping[str, Sequence[float]], css: Mapping, axis: Axis) -> Markup:
    counts = {name: _counts(given, axis) for name, given in systems.items()}
    most = max(max(count) for count in counts.values())
    parts: list[Markup] = []
    for i, (name, given) in enumerate(systems.items()):
        parts += _band(name, counts[name], most, statistics.fmean(given), axis, (i + 1) * BAND - 12, css[name])
    height = len(systems) * BAND - 12
    coarse = Axis(axis.low, axis.high, tick_step(axis.high - axis.low, 7), axis.start, axis.stop)
    words = f"{distribution.title}. Histogram of {distribution.x_label} for {', '.join(systems)}; summary beside it."
    return element(
        "svg", *parts, *x_ticks(coarse, height, distribution.x_label, left=8),
        viewBox=f"0 0 {WIDTH} {height + 40}", role="img", aria_label=words,
    )  # fmt: skip


def _counts(values: Sequence[float], axis: Axis) -> list[int]:
    """How many values lie in each bin of one step; the last bin includes its upper end."""
    counts = [0] * max(round((axis.high - axis.low) / axis.step), 1)
    for value in values:
        counts[min(int((value - axis.low) / axis.step + 1e-9), len(counts) - 1)] += 1
    return counts


def _band(name: str, counts: Sequence[int], most: int, mean: float, axis: Axis, base: float, css: str) -> list[Markup]:
    """The bars of one system, its name, and a triangle at its mean."""
    parts = [element("text", name, class_=f"band {css}", x=8, y=base - BAND + HEAD - 6)]
    for i, count in enumerate(counts):
        if count:
            edges = axis.low + i * axis.step, axis.low + (i + 1) * axis.step
            parts += _bar(edges, count, count / most * (BAND - HEAD - 16), axis, base, css)
    x = axis.pixel(mean)
    parts.append(element("line", class_="axis", x1=8, x2=WIDTH - RIGHT, y1=base, y2=base))
    triangle = element("title", f"mean {value_text(mean)}")
    parts.append(element("path", triangle, class_=f"dot {css}", d=f"M{x:g} {base}l4 6h-8z"))
    return parts


def _bar(edges: tuple[float, float], count: int, height: float, axis: Axis, base: float, css: str) -> list[Markup]:
    left, right = axis.pixel(edges[0]), axis.pixel(edges[1])
    low, high = (tick_text(edge, axis.step) for edge in edges)
    title = element("title", f"{low} to {high}: {count}")
    top = round(base - height, 1)
    box = {"x": round(left + 1, 1), "y": top, "width": round(right - left - 2, 1), "height": round(height, 1)}
    middle = round((left + right) / 2, 1)
    return [
        element("rect", title, class_=f"bar-rect {css}", rx=1.5, **box),
        element("text", count, class_="tick", x=middle, y=round(top - 4, 1), text_anchor="middle"),
    ]


def _summary(systems: Mapping[str, Sequence[float]], css: Mapping[str, str], axis: Axis) -> Markup:
    decimals = 3 - math.floor(math.log10(axis.high - axis.low))  # what is too small to see on the axis is 0
    names = ("System", "videos", "mean", "median", "lowest", "highest")
    heads = [element("th", name, scope="col", class_="num" if i else None) for i, name in enumerate(names)]
    rows = []
    for name, given in systems.items():
        values = (len(given), statistics.fmean(given), statistics.median(given), min(given), max(given))
        cells = [element("td", value_text(round(value, decimals) + 0.0), class_="num") for value in values]
        rows.append(element("tr", element("th", element("i", class_=css[name]), name, scope="row"), *cells))
    return element(
        "div", element("table", element("thead", element("tr", *heads)), element("tbody", *rows)),
        class_="scroll", role="region", aria_label="Summary of the distribution", tabindex="0",
    )  # fmt: skip
