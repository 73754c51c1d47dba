"""Line charts as inline SVG: axes, ticks, legend, and a readout under the pointer that needs no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from evaluation.report_data import Curve

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 30, 44
MAX_STOPS = 120  # places where the pointer reads values; more would only make the file larger

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """Maps values from ``low`` to ``high`` onto pixels from ``start`` to ``stop``."""

    low: float
    high: float
    step: float
    start: float
    stop: float

    def pixel(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

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


def _grid(x_axis: Axis, y_axis: Axis, curve: Curve) -> str:
    parts = []
    for value in y_axis.ticks():
        y = y_axis.pixel(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = tick_text(value, y_axis.step)
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y:.1f}" dy=".33em" text-anchor="end">{label}</text>')
    base = HEIGHT - BOTTOM
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    for value in x_axis.ticks():
        x, label = x_axis.pixel(value), tick_text(value, x_axis.step)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 18}" text-anchor="middle">{label}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(curve.x_label)}</text>'
    )
    parts.append(f'<text class="label" x="4" y="14">{escape(curve.y_label)}</text>')
    return "".join(parts)


def _line(points: Points, colour: str, x_axis: Axis, y_axis: Axis) -> str:
    parts = []
    for run in _runs(points):
        pixels = [f"{x_axis.pixel(x):.1f} {y_axis.pixel(y):.1f}" for x, y in run]
        if len(run) > 1:
            parts.append(f'<path class="line {colour}" d="M{"L".join(pixels)}"/>')
        x, y = pixels[-1].split()
        parts.append(f'<circle class="end {colour}" cx="{x}" cy="{y}" r="3.5"/>')
    return "".join(parts)


def _stop(x: float, edges: tuple[float, float], curve: Curve, marks: list[tuple[str, float, float]], at: float) -> str:
    """A transparent column of the plot; pointing at it shows ``marks``: (colour, value, pixel) of each series."""
    dots = "".join(f'<circle class="end {colour}" cx="{at:.1f}" cy="{y:.1f}" r="4.5"/>' for colour, _, y in marks)
    words = "".join(f'<tspan class="{colour}" dx="8">{value_text(value)}</tspan>' for colour, value, _ in marks)
    return (
        f'<g class="stop"><rect x="{edges[0]:.1f}" y="0" width="{edges[1] - edges[0]:.1f}" height="{HEIGHT - BOTTOM}"/>'
        f'<g class="tip"><line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{HEIGHT - BOTTOM}"/>{dots}'
        f'<text x="{WIDTH - RIGHT}" y="14" text-anchor="end"><tspan>{escape(curve.x_label)} {value_text(x)}</tspan>'
        f"{words}</text></g></g>"
    )


def _stops(curve: Curve, colours: Mapping[str, str], x_axis: Axis, y_axis: Axis) -> str:
    tables = {name: dict(_finite(points)) for name, points in curve.series.items()}
    places = sorted({x for table in tables.values() for x in table})
    if len(places) > MAX_STOPS:
        places = [places[round(i * (len(places) - 1) / (MAX_STOPS - 1))] for i in range(MAX_STOPS)]
    pixels = [x_axis.pixel(x) for x in places]
    edges = [LEFT - 8.0, *((a + b) / 2 for a, b in pairwise(pixels)), float(WIDTH)]
    parts = []
    for x, at, between in zip(places, pixels, pairwise(edges), strict=True):
        marks = [(colours[name], t[x], y_axis.pixel(t[x])) for name, t in tables.items() if x in t]
        parts.append(_stop(x, between, curve, marks, at))
    return "".join(parts)


def describe(curve: Curve) -> str:
    """The chart in words, for those who cannot see it."""
    parts = [f"{curve.title}: {curve.y_label} by {curve.x_label}."]
    for name, points in curve.series.items():
        finite = _finite(points)
        if finite:
            (x0, y0), (x1, y1) = finite[0], finite[-1]
            parts.append(
                f"{name} goes from {value_text(y0)} at {value_text(x0)} to {value_text(y1)} at {value_text(x1)}."
            )
    return " ".join(parts)


def line_chart(curve: Curve, colours: Mapping[str, str]) -> str:
    """The chart of ``curve`` as an ``<svg>``; ``colours`` maps each series to its CSS class."""
    points = [point for series in curve.series.values() for point in _finite(series)]
    if not points:
        return '<p class="empty">No values.</p>'
    x_axis = make_axis([x for x, _ in points], 6, (LEFT, WIDTH - RIGHT), round_ends=False)
    y_axis = make_axis([y for _, y in points], 5, (HEIGHT - BOTTOM, TOP), round_ends=True)
    lines = "".join(_line(series, colours[name], x_axis, y_axis) for name, series in curve.series.items())
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(describe(curve))}">'
        f"{_grid(x_axis, y_axis, curve)}{lines}{_stops(curve, colours, x_axis, y_axis)}</svg>"
    )
