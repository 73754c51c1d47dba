"""Scatter plots as inline SVG: colours tell groups, shapes tell kinds, and a title stands under the pointer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from evaluation.errors import EvaluationError
from evaluation.report_data import Mark, Scatter
from evaluation.report_html import N_COLOURS, Markup, colour, element

PLOT_WIDTH, MARGIN, RADIUS = 560, 14, 4.2
LOWEST, HIGHEST = 280, 540  # height of a plot
MOST_LINES = 200  # links beyond which lines would hide the points

Pixels = Sequence[tuple[float, float]]


def scatter_plot(scatter: Scatter) -> Markup:
    """``scatter`` as a ``<figure>``.

    Raises:
        EvaluationError: a place is not finite, a link names no mark, or there are more groups than colours.
    """
    _check(scatter)
    title = element("h3", scatter.title)
    note = [element("p", scatter.note, class_="note")] if scatter.note else []
    if not scatter.marks:
        return element("figure", element("figcaption", title, *note), element("p", "No points."), class_="chart card")
    css = {group: colour(i) for i, group in enumerate(scatter.groups)}
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(mark.kind for mark in scatter.marks))}
    at = element("p", "Point at a mark to see what it is.", class_="at note", aria_live="polite")
    caption = element("figcaption", title, _legend(scatter, css, kinds), *note)
    return element("figure", caption, _svg(scatter, css, kinds), at, class_="scatter chart card")


def _check(scatter: Scatter) -> None:
    if len(scatter.groups) > N_COLOURS:
        raise EvaluationError(
            f"plot {scatter.title!r}: found {len(scatter.groups)} groups, expected at most {N_COLOURS}: one a colour"
        )
    for i, mark in enumerate(scatter.marks):
        if not (math.isfinite(mark.x) and math.isfinite(mark.y)):
            raise EvaluationError(f"plot {scatter.title!r}, mark {i}: found ({mark.x}, {mark.y}), expected a place")
    count = len(scatter.marks)
    for link in scatter.links:
        if any(not 0 <= end < count for end in link):
            raise EvaluationError(f"plot {scatter.title!r}: found link {link}, but there are {count} marks")


def _svg(scatter: Scatter, css: Mapping[str, str], kinds: Mapping[str, int]) -> Markup:
    pixels, height = _place(scatter.marks)
    lines = [
        element("line", class_=f"tie {css.get(scatter.marks[a].group, 'reference')}",
                x1=pixels[a][0], y1=pixels[a][1], x2=pixels[b][0], y2=pixels[b][1])
        for a, b in scatter.links if len(scatter.links) <= MOST_LINES
    ]  # fmt: skip
    pairs = {a: b for link in scatter.links for a, b in (link, link[::-1])}
    marks = [
        _mark(mark, pixels[i], css, kinds[mark.kind], data_pair=pairs.get(i)) for i, mark in enumerate(scatter.marks)
    ]
    view = f"0 0 {PLOT_WIDTH} {height:g}"
    return element("svg", *lines, *marks, viewBox=view, role="img", aria_label=describe(scatter))


def _place(marks: Sequence[Mark]) -> tuple[Pixels, float]:
    """Pixels of all marks, both axes of one scale, y upwards; and the height of the plot."""
    left, bottom = min(mark.x for mark in marks), min(mark.y for mark in marks)
    wide, high = max(mark.x for mark in marks) - left, max(mark.y for mark in marks) - bottom
    room = PLOT_WIDTH - 2 * MARGIN
    height = min(max(room * high / wide if wide else HIGHEST, LOWEST), HIGHEST)
    scale = min(room / (wide or 1), height / (high or 1))
    x0, y0 = (PLOT_WIDTH - scale * wide) / 2, MARGIN + (height + scale * high) / 2
    places = [(round(x0 + scale * (m.x - left), 1), round(y0 - scale * (m.y - bottom), 1)) for m in marks]
    return places, round(height + 2 * MARGIN)


def _mark(mark: Mark, at: tuple[float, float], css: Mapping[str, str], shape: int, **more: object) -> Markup:
    x, y = at
    classes = f"mark {css.get(mark.group, 'reference')}"
    title = [element("title", mark.title)] if mark.title else []
    if shape == 0:
        return element("circle", *title, class_=classes, cx=f"{x:g}", cy=f"{y:g}", r=RADIUS, **more)
    return element("path", *title, class_=f"{classes} hollow", d=_outline(x, y, shape), **more)


def _outline(x: float, y: float, shape: int) -> str:
    r = RADIUS
    if shape % 2:  # a diamond
        return f"M{x:g} {y - r - 1:g}l{r + 1:g} {r + 1:g} {-r - 1:g} {r + 1:g} {-r - 1:g} {-r - 1:g}z"
    return f"M{x:g} {y - r - 1:g}l{r + 1:g} {2 * r:g}h{-2 * r - 2:g}z"


def _legend(scatter: Scatter, css: Mapping[str, str], kinds: Mapping[str, int]) -> Markup:
    named = [(group, css[group]) for group in scatter.groups]
    if named and any(mark.group not in css for mark in scatter.marks):
        named.append(("other", "reference"))
    shapes = [_shape_key(kind, shape) for kind, shape in kinds.items()]
    colours = [element("li", element("i", class_=c), group, class_="key") for group, c in named]
    return element("ul", *shapes, *colours, class_="legend")


def _shape_key(kind: str, shape: int) -> Markup:
    sample = _mark(Mark(0, 0, kind), (7, 7), {}, shape)
    return element("li", element("svg", sample, viewBox="0 0 14 14", aria_hidden="true"), kind, class_="shape")


def describe(scatter: Scatter) -> str:
    """The plot in words, for those who cannot see it."""
    kinds = Counter(mark.kind for mark in scatter.marks)
    groups = Counter(mark.group for mark in scatter.marks)
    said = [f"{count} of {group}" for group, count in groups.items() if group in scatter.groups]
    counted = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    return f"{scatter.title}. Scatter plot; points: {counted}." + (f" Colours: {', '.join(said)}." if said else "")
