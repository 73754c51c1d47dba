"""Line charts as inline SVG. The page's script adds the readout under the pointer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.report_data import Curve
from evaluation.report_html import Markup, colour, element

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 40

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """Maps values from ``low`` to ``high`` onto pixels from ``start`` to ``stop``, with a tick every ``step``."""

    low: float
    high: float
    step: float
    start: float
    stop: float

    def pixel(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [i * self.step for i in range(first, last + 1)]


def tick_step(span: float, count: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that puts at most ``count`` steps into ``span``."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= rough * (1 - 1e-9))


def make_axis(values: Sequence[float], count: int, pixels: tuple[float, float], round_ends: bool) -> Axis:
    """An axis over ``values``, its ends rounded out to whole steps if ``round_ends``."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: give it some room
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    step = tick_step(high - low, count)
    if all(value == int(value) for value in values):  # epochs have no halves
        step = max(step, 1.0)
    if round_ends:
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, step, *pixels)


def tick_text(value: float, step: float) -> str:
    """``value`` with as many decimals as its ``step`` needs; thousands as k, millions as M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if step >= size / 10 and abs(value) >= size:
            return f"{value / size:g}{sign}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.1e}" if decimals > 6 else f"{value + 0.0:.{decimals}f}"


def value_text(value: float) -> str:
    """A value for the readout: four significant digits, no needless zeros."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _runs(points: Points) -> list[list[tuple[float, float]]]:
    """Stretches of finite points; what is not finite is a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def x_ticks(axis: Axis, base: float, label: str, left: float = LEFT) -> list[Markup]:
    """Axis line, tick labels and label below a plot that ends at ``base``."""
    parts = [element("line", class_="axis", x1=left, x2=WIDTH - RIGHT, y1=base, y2=base)]
    parts += [
        element("text", tick_text(v, axis.step), class_="tick", x=axis.pixel(v), y=base + 16, text_anchor="middle")
        for v in axis.ticks()
    ]
    middle = (left + WIDTH - RIGHT) / 2
    return [*parts, element("text", label, class_="label", x=middle, y=base + 33, text_anchor="middle")]


def _y_ticks(axis: Axis) -> list[Markup]:
    parts = []
    for value in axis.ticks():
        y = axis.pixel(value)
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        label = tick_text(value, axis.step)
        parts.append(element("text", label, class_="tick", x=LEFT - 7, y=round(y + 3.8, 1), text_anchor="end"))
    return parts


def _line(points: Points, css: str, x_axis: Axis, y_axis: Axis) -> list[Markup]:
    parts = []
    for run in _runs(points):
        pixels = [f"{x_axis.pixel(x):g} {y_axis.pixel(y):g}" for x, y in run]
        if len(run) > 1:
            parts.append(element("path", class_=f"line {css}", d=f"M{'L'.join(pixels)}"))
        else:
            x, y = pixels[0].split()
            parts.append(element("circle", class_=f"dot {css}", cx=x, cy=y, r=3))
    return parts


def describe(curve: Curve) -> str:
    """The chart in words, for those who cannot see it."""
    parts = [f"{curve.title}. Line chart of {curve.y_label} by {curve.x_label}."]
    for name, points in curve.series.items():
        finite = _finite(points)
        if finite:
            (x0, y0), (x1, y1) = finite[0], finite[-1]
            parts.append(
                f"{name} goes from {value_text(y0)} at {value_text(x0)} to {value_text(y1)} at {value_text(x1)}."
            )
    return " ".join(parts)


def _readout(curve: Curve, x_axis: Axis, y_axis: Axis) -> str:
    """JSON for the page's script: texts and pixels of every x, null where a series has no value."""
    tables = [dict(_finite(points)) for points in curve.series.values()]
    places = sorted({x for table in tables for x in table})
    return json.dumps(
        {
            "label": curve.x_label,
            "x": [value_text(x) for x in places],
            "at": [x_axis.pixel(x) for x in places],
            "y": [[value_text(t[x]) if x in t else None for x in places] for t in tables],
            "dot": [[y_axis.pixel(t[x]) if x in t else None for x in places] for t in tables],
        },
        separators=(",", ":"),
    )


def line_chart(curve: Curve, colours: Mapping[str, str]) -> Markup:
    """``curve`` as a ``<figure>``; a series of a known system takes its colour from ``colours``."""
    points = [point for series in curve.series.values() for point in _finite(series)]
    if not points:
        return element("figure", element("h3", curve.title), element("p", "No values."), class_="chart card")
    css = [colours.get(name, colour(i)) for i, name in enumerate(curve.series)]
    x_axis = make_axis([x for x, _ in points], 6, (LEFT, WIDTH - RIGHT), round_ends=False)
    y_axis = make_axis([y for _, y in points], 5, (HEIGHT - BOTTOM, TOP), round_ends=True)
    lines = [part for s, c in zip(curve.series.values(), css, strict=True) for part in _line(s, c, x_axis, y_axis)]
    dots = [element("circle", class_=f"dot {c}", r=4) for c in css]
    cursor = element("g", element("line", y1=TOP, y2=HEIGHT - BOTTOM), *dots, class_="cursor", visibility="hidden")
    svg = element(
        "svg",
        *_y_ticks(y_axis),
        *x_ticks(x_axis, HEIGHT - BOTTOM, curve.x_label),
        *_best(curve, x_axis),
        *lines,
        cursor,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        tabindex="0",
        aria_label=describe(curve) + " Left and right keys read values.",
    )
    at = element("span", "last", class_="at")
    title = element("figcaption", element("h3", curve.title), at, _legend(curve, css), aria_live="polite")
    return element("figure", title, svg, class_="chart card", data_chart=_readout(curve, x_axis, y_axis))


def _best(curve: Curve, x_axis: Axis) -> list[Markup]:
    if curve.best is None or not x_axis.low <= curve.best <= x_axis.high:
        return []
    x = x_axis.pixel(curve.best)
    is_right = x > WIDTH / 2
    return [
        element("line", class_="best", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM),
        element(
            "text", "kept", class_="tick", x=x + (-5 if is_right else 5), y=HEIGHT - BOTTOM - 6,
            text_anchor="end" if is_right else "start",
        ),
    ]  # fmt: skip


def _legend(curve: Curve, css: Sequence[str]) -> Markup:
    items = []
    for name, c in zip(curve.series, css, strict=True):
        finite = _finite(curve.series[name])
        last = value_text(finite[-1][1]) if finite else ""
        items.append(element("li", element("i", class_=c), name, " ", element("b", last), class_="key"))
    return element("ul", *items, class_="legend")
