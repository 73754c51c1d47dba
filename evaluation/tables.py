"""A benchmark's table for the terminal, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from evaluation.benchmark import BenchmarkTable, Cell, Column, Line

if TYPE_CHECKING:
    from rich.console import Group

MARK = "†"
NOTHING = "–"  # noqa: RUF001
FACTS: tuple[tuple[str, Callable[[Line], str]], ...] = (
    ("seeds", lambda line: str(len(line.seeds)) if line.seeds else ""),
    ("parameters", lambda line: count_text(line.parameters)),
    ("training", lambda line: time_text(line.train_seconds)),
    ("sentences/s", lambda line: "" if line.sentences_per_second is None else f"{line.sentences_per_second:,.0f}"),
)
STATISTICS = ("mean", "std", "low", "high", "difference", "difference_low", "difference_high", "p")


def count_text(count: int | None) -> str:
    """``21.5 M``, ``812 k``, or nothing."""
    if count is None:
        return ""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k" if count >= 1e4 else str(count)


def time_text(seconds: float | None) -> str:
    """``41 s``, ``3:05 min``, ``2:04 h``, or nothing."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, unit = (*divmod(whole, 60), "min") if whole < 3600 else (*divmod(whole // 60, 60), "h")
    return f"{large}:{small:02d} {unit}"


def value_text(cell: Cell, column: Column) -> str:
    """``57.24† ±0.31``."""
    return " ".join(_value_parts(cell, column))


def _value_parts(cell: Cell, column: Column) -> list[str]:
    parts = [number(cell.mean, column.decimals), f"±{cell.std:.{column.decimals}f}" if cell.std is not None else ""]
    return [parts[0] + (MARK if cell.significant else ""), *filter(None, parts[1:])]


def number(value: float, decimals: int) -> str:
    """With so many decimals, and without the sign of a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval_text(cell: Cell, column: Column) -> str:
    """``[55.1, 59.2]``, or nothing; a decimal less than the value, since it is that unsure."""
    decimals = max(column.decimals - 1, 0)
    return "" if cell.low is None else f"[{number(cell.low, decimals)}, {number(cell.high, decimals)}]"


def best_of(table: BenchmarkTable, column: Column) -> Line | None:
    """The line with the best mean that was measured here, if there are two that differ."""
    lines = [line for line in table.lines if not line.published and column.metric in line.cells]
    if len({line.cells[column.metric].mean for line in lines}) < 2 or column.higher_is_better is None:
        return None
    return (max if column.higher_is_better else min)(lines, key=lambda line: line.cells[column.metric].mean)


def arrow(column: Column) -> str:
    """Which direction is better."""
    return {True: " ↑", False: " ↓", None: ""}[column.higher_is_better]


def _label(line: Line) -> str:
    return f"{line.name} (published)" if line.published else line.name


def _notes(table: BenchmarkTable) -> list[str]:
    return [*filter(None, [table.note]), *table.explanations, *table.warnings, *table.failures]


def _style(table: BenchmarkTable, text: str) -> str:
    return "bold red" if text in table.failures else "bold yellow" if text in table.warnings else ""


def terminal(table: BenchmarkTable) -> Group:
    """For ``rich.print``: scores, then size and speed."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tight = {"box": box.SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}
    scores = Table(title=table.title, title_justify="left", **tight)
    scores.add_column("system", min_width=12)
    for column in table.columns:
        scores.add_column(column.label + arrow(column), justify="right", overflow="fold")
    best = {column.metric: best_of(table, column) for column in table.columns}
    for line in table.lines:
        cells = [_terminal_cell(line, column, best[column.metric] is line) for column in table.columns]
        scores.add_row(Text(_label(line)), *cells, style="italic" if line.published else "")
    texts = [Text(text, style=_style(table, text)) for text in _notes(table)]
    return Group(scores, *_terminal_facts(table), *texts)


def _terminal_facts(table: BenchmarkTable) -> list:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    lines = [line for line in table.lines if line.seeds]
    if not lines:
        return []
    facts = Table("system", *(name for name, _ in FACTS), box=box.SIMPLE_HEAD, pad_edge=False)
    for line in lines:
        facts.add_row(Text(line.name), *(text(line) for _, text in FACTS))
    return [facts]


def _terminal_cell(line: Line, column: Column, is_best: bool):
    from rich.text import Text

    cell = line.cells.get(column.metric)
    if cell is None:
        return Text(NOTHING, style="dim")
    value, *spread = _value_parts(cell, column)
    text = Text(value, style="bold" if is_best else "")
    if cell.low is not None:
        spread.append(interval_text(cell, column).strip("[]").replace(", ", "-"))  # short: eight columns in a line
    return text.append("".join(f"\n{part}" for part in spread), style="not bold dim")


def markdown(table: BenchmarkTable) -> str:
    """A GitHub table; the best of each column in bold, published lines in italics."""
    heads = ["System", *(column.label + arrow(column) for column in table.columns), *(name for name, _ in FACTS)]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    best = {column.metric: best_of(table, column) for column in table.columns}
    for line in table.lines:
        label = _md(_label(line))
        cells = [_markdown_cell(line, column, best[column.metric] is line) for column in table.columns]
        rows.append([f"*{label}*" if line.published else label, *cells, *(text(line) for _, text in FACTS)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return (
        f"### {_md(table.title)}\n\n"
        + "\n".join(lines)
        + "\n\n"
        + "\n".join(f"- {_md(n)}" for n in _notes(table))
        + "\n"
    )


def _markdown_cell(line: Line, column: Column, is_best: bool) -> str:
    cell = line.cells.get(column.metric)
    if cell is None:
        return NOTHING
    text, bounds = value_text(cell, column), interval_text(cell, column)
    text = f"**{text}**" if is_best else f"*{text}*" if line.published else text
    return f"{text}<br>{bounds}" if bounds else text


def _md(text: str) -> str:
    for sign in "\\|*_<[`":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def comma_separated(table: BenchmarkTable) -> str:
    """Every number in full, one row a line of the table; empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    measured = [f"{c.metric}_{name}" if name != "mean" else c.metric for c in table.columns for name in STATISTICS]
    facts = ("seeds", "parameters", "train_seconds", "sentences_per_second")
    writer.writerow(["system", "published", "note", *facts, *measured])
    for line in table.lines:
        numbers = [
            getattr(line.cells[c.metric], name) if c.metric in line.cells else None
            for c in table.columns
            for name in STATISTICS
        ]
        seeds = " ".join(map(str, line.seeds))
        known = (seeds, line.parameters, line.train_seconds, line.sentences_per_second)
        writer.writerow([line.name, int(line.published), line.note, *known, *numbers])
    return out.getvalue()


def latex(table: BenchmarkTable) -> str:
    """A ``booktabs`` table with intervals below the scores; needs no other package."""
    columns = table.columns
    heads = [
        _tex(c.label) + {True: r" $\uparrow$", False: r" $\downarrow$", None: ""}[c.higher_is_better] for c in columns
    ]
    lines = [
        r"\begin{table}[t]",
        r"\centering\small",
        rf"\caption{{{_tex(table.title)}. {_tex(' '.join(_notes(table)))}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        f"System & {' & '.join(heads)} \\\\",
        r"\midrule",
    ]
    best = {column.metric: best_of(table, column) for column in columns}
    for line in table.lines:
        label = (
            rf"\textit{{{_tex(_label(line))}}}" if line.published else f"{{{_tex(line.name)}}}"
        )  # "[" would be an option
        cells = [_latex_cell(line, column, best[column.metric] is line) for column in columns]
        lines.append(f"{label} & {' & '.join(cells)} \\\\")
        bounds = [_tex(interval_text(line.cells[c.metric], c)) if c.metric in line.cells else "" for c in columns]
        if any(bounds):
            lines.append(" & " + " & ".join(rf"{{\tiny {b}}}" if b else "" for b in bounds) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _latex_cell(line: Line, column: Column, is_best: bool) -> str:
    cell = line.cells.get(column.metric)
    if cell is None:
        return "--"
    text = f"{cell.mean:.{column.decimals}f}"
    text = rf"\textbf{{{text}}}" if is_best else rf"\textit{{{text}}}" if line.published else text
    text += rf"{{\scriptsize$\pm${cell.std:.{column.decimals}f}}}" if cell.std is not None else ""
    return text + (r"$^\dagger$" if cell.significant else "")


_TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    MARK: r"$^\dagger$",
    NOTHING: "--",
    "→": r"$\rightarrow$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


FORMATS: dict[str, Callable[[BenchmarkTable], str]] = {"md": markdown, "csv": comma_separated, "tex": latex}
