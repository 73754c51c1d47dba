"""What a report shows, as plain frozen data that any caller can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Highlight:
    """One headline result: a big number, and bars that compare it with others.

    Attributes:
        value: shown as it is, in large type, for example ``"81 %"``.
        comparison: (name, number) pairs, one bar each; a bar takes the colour of the system of that name.
        unit: written after the number of each bar.
        full: the number of a bar of full width (default: the largest number).
        note: one line of explanation below.
    """

    label: str
    value: str
    comparison: Sequence[tuple[str, float]] = ()
    unit: str = ""
    full: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ScoreTable:
    """Scores of several systems; the best value of each column is set in bold.

    Attributes:
        columns: names of the value columns.
        rows: (system name, one value a column; None or NaN where there is none).
        higher_is_better: one answer a column, None for a column that has no best value (default: all True).
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    higher_is_better: Sequence[bool | None] = ()
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """A line chart. ``series`` maps a name to its (x, y) points; a point that is not finite breaks the line."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Flag:
    """Something that a sentence got right or wrong, such as the name of a hidden object.

    ``system`` names the system whose sentence is meant; without it the flag belongs to the clip.
    """

    label: str
    right: bool
    system: str = ""


@dataclass(frozen=True)
class SampleClip:
    """One clip of a held-out video.

    Attributes:
        start, end: seconds.
        frames: JPEG or PNG bytes, embedded as they are, or uint8 arrays (H, W, 3), embedded as JPEG of at most
            320 pixels a side.
        generated: system name to its sentence.
        references: what people wrote, the first one is shown, the others unfold.
    """

    start: float
    end: float
    frames: Sequence[bytes | np.ndarray] = ()
    generated: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[str] = ()
    flags: Sequence[Flag] = ()


@dataclass(frozen=True)
class Sample:
    """A held-out video with its clips in time order. ``score`` orders the samples, higher is better."""

    video: str
    score: float | None
    clips: Sequence[SampleClip]


@dataclass(frozen=True)
class Report:
    """Everything on the page, in the order in which it appears.

    Attributes:
        facts: (label, value) pairs, such as the number of videos or the training time.
        score_name: what ``Sample.score`` is, for example ``"CIDEr-D"``.
        notes: paragraphs at the end of the page.
        date: printed at the foot if given; the page holds no other trace of when it was written.
    """

    title: str
    summary: str = ""
    highlights: Sequence[Highlight] = ()
    facts: Sequence[tuple[str, str]] = ()
    samples: Sequence[Sample] = ()
    score_name: str = "score"
    curves: Sequence[Curve] = ()
    scores: Sequence[ScoreTable] = ()
    notes: Sequence[str] = ()
    date: str = ""
    language: str = "en"
