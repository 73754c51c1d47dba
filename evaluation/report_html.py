"""HTML elements that escape whatever is not HTML already, so that no text of a report can become markup."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from html import escape

from evaluation.report_data import Report

VOID = {"img", "input", "meta", "link"}
N_COLOURS = 10  # classes s0 to s9 of report.css


class Markup(str):
    """Text that is HTML already."""


def clean(text: object) -> str:
    """``text`` escaped, without the control signs and lone surrogates that no HTML file may hold."""
    if isinstance(text, Markup):
        return text
    return escape("".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in str(text)))


def element(tag: str, /, *children: object, **attributes: object) -> Markup:
    """``<tag ...>children</tag>``.

    Args:
        children: text, escaped unless it is ``Markup``.
        attributes: ``class_`` is class, ``data_x`` is data-x; None and False leave the attribute out, True gives
            it no value.
    """
    pairs = [
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{clean(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    opening = f"<{tag}{''.join(pairs)}>"
    return Markup(opening if tag in VOID else f"{opening}{join(children)}</{tag}>")


def join(parts: Sequence[object]) -> Markup:
    """All parts behind one another, escaped unless they are ``Markup``."""
    return Markup("".join(clean(part) for part in parts))


def unseen(text: str) -> Markup:
    """Text for screen readers only."""
    return element("span", text, class_="unseen")


def slug(title: str) -> str:
    """An element id made of the letters and digits of ``title``."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in title.lower()).split()) or "part"


def system_colours(report: Report) -> Mapping[str, str]:
    """The CSS class of every system name, in order of first appearance, the same in every part of the page."""
    names = [score.system for score in report.scores]
    names += [name for score in report.scores for name, _ in score.others]
    names += [row.name for table in report.systems for row in table.rows if not row.is_reference]
    names += [name for part in report.distributions for name in part.values]
    names += [name for sample in report.samples for clip in sample.clips for name in clip.sentences]
    distinct = dict.fromkeys(name for name in names if name)
    return {name: colour(i) for i, name in enumerate(distinct)}


def colour(i: int) -> str:
    """The CSS class of the ``i``-th colour; they come round after the last."""
    return f"s{i % N_COLOURS}"


def is_number(value: float | None) -> bool:
    """Whether there is a finite value to show."""
    return value is not None and math.isfinite(value)


def number(value: float | None, decimals: int = 1, unit: str = "") -> str:
    """``value`` for readers, or ``not run`` if there is none."""
    if not is_number(value):
        return "not run"
    return f"{round(value, decimals) + 0.0:,.{decimals}f}{unit and chr(0x202F) + unit}"  # + 0.0: no minus before 0


def duration(seconds: float) -> str:
    """``0.4 s``, ``52 s``, ``3 min 05 s`` or ``2 h 04 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
