"""What a report shows, as plain frozen data that any caller can fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Score:
    """One result of the main system.

    Attributes:
        value: on the scale on which it is shown; None where the metric could not run.
        meaning: one sentence for those who do not know the metric; say here why a value is None.
        unit: written after the value, for example ``"%"``.
        system: whose value it is; it decides the colour.
        others: (system, value) pairs to compare with.
        reference: chance or another level to compare with, called ``reference_name``.
        higher_is_better: None if neither direction is better.
        full: the value of a bar of full width (default: the largest value shown).
        group: heading in the table of all scores.
        is_headline: whether it gets a card at the top of the page.
    """

    name: str
    value: float | None
    meaning: str = ""
    unit: str = ""
    system: str = ""
    others: Sequence[tuple[str, float | None]] = ()
    reference: float | None = None
    reference_name: str = "chance"
    higher_is_better: bool | None = True
    full: float | None = None
    decimals: int = 1
    group: str = ""
    is_headline: bool = False


@dataclass(frozen=True)
class Metric:
    """A column of a table of systems."""

    name: str
    meaning: str = ""
    higher_is_better: bool | None = True
    decimals: int = 1


@dataclass(frozen=True)
class SystemRow:
    """A row of a table of systems.

    Attributes:
        values: one a metric; None where there is none.
        spread: standard deviation over runs, one a metric, or nothing.
        details: small text below each value, one a metric, or nothing.
        note: a few words below the name.
        is_reference: a published number or a chance level: shown apart and never the best of its column.
    """

    name: str
    values: Sequence[float | None]
    spread: Sequence[float | None] = ()
    note: str = ""
    is_reference: bool = False
    details: Sequence[str] = ()


@dataclass(frozen=True)
class SystemTable:
    """Systems by metrics; the best value of each column is set in bold."""

    title: str
    metrics: Sequence[Metric]
    rows: Sequence[SystemRow]
    note: str = ""


@dataclass(frozen=True)
class Curve:
    """A line chart.

    Attributes:
        series: name to (x, y) points in order of x; a point that is not finite breaks the line.
        best: the x that is marked, for example the epoch that was kept.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    best: float | None = None


@dataclass(frozen=True)
class Distribution:
    """A histogram of one value a video; ``values`` maps each system to its values."""

    title: str
    x_label: str
    values: Mapping[str, Sequence[float]]
    note: str = ""


@dataclass(frozen=True)
class Timing:
    """How long a step took."""

    step: str
    seconds: float
    note: str = ""


@dataclass(frozen=True)
class Flag:
    """Something that a sentence got right or wrong, such as the name of a hidden object.

    ``system`` names the system whose sentence is meant; without it the flag belongs to the clip.
    """

    label: str
    is_right: bool
    system: str = ""


@dataclass(frozen=True)
class SampleClip:
    """One clip of a held-out video.

    Attributes:
        start, stop: seconds.
        frames: JPEG or PNG bytes, or uint8 arrays (H, W, 3) RGB; large ones are shrunk.
        sentences: system name to what it wrote.
        references: what people wrote; the first one is shown, the others unfold.
    """

    start: float
    stop: float
    frames: Sequence[bytes | np.ndarray] = ()
    sentences: Mapping[str, str] = field(default_factory=dict)
    references: Sequence[str] = ()
    flags: Sequence[Flag] = ()


@dataclass(frozen=True)
class Sample:
    """A held-out video with its clips in time order.

    Attributes:
        scores: system name to its score on this video, higher is better; the first one orders the samples.
        tag: why it was chosen, for example ``"best"``, ``"worst"`` or ``"random"``.
    """

    video: str
    clips: Sequence[SampleClip]
    scores: Mapping[str, float] = field(default_factory=dict)
    tag: str = ""


@dataclass(frozen=True)
class RetrievalScores:
    """How well the two sides of one level find each other.

    Attributes:
        candidates: how many a query chooses from; it gives the chance level.
        ways: name of a direction to its ``r1``, ``r5``, ``r10``, ``r50`` (fractions), ``medr`` and ``meanr`` (from 1).
    """

    title: str
    candidates: int
    ways: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Hit:
    """A candidate that a query found.

    Attributes:
        rank: from 1.
        note: a few words behind the name.
    """

    rank: int
    similarity: float
    name: str
    text: str = ""
    is_right: bool = False
    note: str = ""


@dataclass(frozen=True)
class RetrievalQuery:
    """A query and what it found.

    Attributes:
        hits: in order of rank; the right one is among them, however far below the others it stands.
    """

    name: str
    hits: Sequence[Hit]
    text: str = ""


@dataclass(frozen=True)
class RetrievalTable:
    """Sampled queries of one direction, each with what it found.

    Attributes:
        top: how many of the first candidates are listed; a query whose counterpart is not among them has failed.
    """

    title: str
    candidates: int
    top: int
    queries: Sequence[RetrievalQuery]
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A point of a scatter plot.

    Attributes:
        kind: what it is, such as ``"video"``; it decides the shape.
        group: it decides the colour.
        title: shown under the pointer.
    """

    x: float
    y: float
    kind: str
    group: str = ""
    title: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points in the plane, both axes of one scale and without unit.

    Attributes:
        groups: those that get a colour, in the order of the legend; points of any other group are grey.
        links: pairs of numbers of marks that belong together; lines join them if there are few.
    """

    title: str
    marks: Sequence[Mark]
    groups: Sequence[str] = ()
    links: Sequence[tuple[int, int]] = ()
    note: str = ""


@dataclass(frozen=True)
class Report:
    """Everything on the page; what is empty leaves no trace on it.

    Attributes:
        subtitle: what ran, in a sentence or two.
        command: the command line that makes this page again.
        facts: (label, value) pairs shown below the title, such as the number of videos.
        sample_score: what ``Sample.scores`` holds, for example ``"CIDEr-D"``.
        environment: (label, value) pairs such as versions, processor and seed.
        notes: paragraphs at the end of the page.
        date: printed at the foot if given; the page holds no other trace of when it was written.
    """

    title: str
    subtitle: str = ""
    command: str = ""
    facts: Sequence[tuple[str, str]] = ()
    scores: Sequence[Score] = ()
    systems: Sequence[SystemTable] = ()
    samples: Sequence[Sample] = ()
    sample_score: str = "score"
    distributions: Sequence[Distribution] = ()
    curves: Sequence[Curve] = ()
    timings: Sequence[Timing] = ()
    environment: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    date: str = ""
    language: str = "en"
    retrieval_scores: Sequence[RetrievalScores] = ()
    retrievals: Sequence[RetrievalTable] = ()
    scatters: Sequence[Scatter] = ()
