"""Progress with time left: a bar on a terminal, now and then a plain line in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """A counter from 0 to ``total`` that shows how far a step is and how long it will still take.

    Use as a context manager: ``with Progress("decoding", total=200) as bar: ... bar.advance()``.

    Args:
        shown: False counts in silence.
    """

    def __init__(self, title: str, total: int, shown: bool = True) -> None:
        self.title, self.total, self.done, self.note, self.shown = title, total, 0, "", shown
        self.started = self.last_line = self.settled = time.monotonic()
        self.first = 0  # units of the first step, in which code is compiled: it says nothing about the others
        self.bar = None

    def __enter__(self) -> Progress:
        if self.shown and sys.stderr.isatty():
            self.bar, self.task = _rich_bar(self.title, self.total)
        return self

    def __exit__(self, error: type | None, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        elif error is None:
            self._print(f"done in {_clock(time.monotonic() - self.started)}")

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count ``count`` units; ``note`` replaces the text shown behind the bar."""
        if not self.done:
            self.first, self.settled = count, time.monotonic()
        self.done += count
        self.note = self.note if note is None else note
        if self.bar:
            self.bar.update(self.task, advance=count, note=self.note)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            self._print(self._left())

    def _left(self) -> str:
        later = self.done - self.first
        seconds = (time.monotonic() - self.settled) * (self.total - self.done) / max(later, 1)
        return f"{_clock(seconds)} left" if later else ""

    def _print(self, text: str) -> None:
        if not self.shown:
            return
        parts = [self.title, f"{self.done}/{self.total}", text, self.note]
        print("  ".join(part for part in parts if part), file=sys.stderr, flush=True)


def track(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` while showing progress; ``total`` where ``items`` has no length."""
    with Progress(title, len(items) if total is None else total) as bar:  # type: ignore[arg-type]
        for item in items:
            yield item
            bar.advance()


def _rich_bar(title: str, total: int):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "left")
    bar = RichProgress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=Console(stderr=True))
    bar.start()
    return bar, bar.add_task(title, total=total, note="")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
