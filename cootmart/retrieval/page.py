"""Writes the page of a retrieval evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cootmart
from cootmart.benchmark.digests import file_sha256
from cootmart.retrieval.labels import Labels, label_rows, repeated
from cootmart.retrieval.maps import clip_map, video_map
from encoder.embeddings import Embeddings
from encoder.examples import Example, Examples, sample_examples
from encoder.projection import require_sklearn
from encoder.retrieval import evaluate
from evaluation.report import write_report
from evaluation.report_data import Hit, Report, RetrievalQuery, RetrievalScores, RetrievalTable, Scatter, Score

FIELDS = ("r1", "r5", "r10", "r50", "medr", "meanr")
SEEN = ("video", "clip")


@dataclass(frozen=True)
class PageConfig:
    """What the page shows."""

    top: int = 5
    """candidates listed for each query"""
    examples: int = 3
    """queries of every outcome: right one first, near miss, failure"""
    seed: int = 0
    """of the choice of queries, and of the map"""


@dataclass(frozen=True)
class Side:
    """What is searched with or found: n embeddings with names and texts."""

    kind: str
    rows: np.ndarray
    """(n, D)"""
    names: list[str]
    texts: list[str]


def write_retrieval_page(
    path: str | Path,
    embeddings: str | Path,
    meta: str | Path | None = None,
    config: PageConfig = PageConfig(),
    command: str = "",
) -> Path:
    """Write the page of an embeddings file.

    Args:
        path: HTML file.
        embeddings: HDF5 file with both sides.
        meta: meta_all.json with the texts, times and, if it has them, groups of the videos.
        command: shown as what makes the page again.

    Raises:
        CootmartError: scikit-learn is missing, a file cannot be read, or the two do not fit together.
    """
    require_sklearn()
    e = Embeddings.load(embeddings)
    scores, labels = evaluate(e), label_rows(e, meta)
    sides = (
        Side("video", e.vid_emb, labels.videos, labels.paragraphs),
        Side("paragraph", e.par_emb, labels.videos, labels.paragraphs),
        Side("clip", e.clip_emb, labels.clips, labels.sentences),
        Side("sentence", e.sent_emb, labels.clips, labels.sentences),
    )
    ways = {"vid2par": sides[:2], "par2vid": sides[1::-1], "cli2sen": sides[2:], "sen2cli": sides[:1:-1]}
    maps = [video_map(e, labels, config.seed), clip_map(e, labels, config.seed)]
    report = Report(
        title="What finds what",
        subtitle="Videos and paragraphs, clips and sentences look for one another by how similar their embeddings are.",
        command=command,
        facts=[("videos", f"{len(e):,}"), ("clips", f"{len(labels.clips):,}"), ("file", Path(e.path).name)],
        scores=[_headline(way, *ways[way], scores) for way in ways],
        retrieval_scores=[_level("Video and paragraph", ("vid2par", "par2vid"), ways, scores),
                          _level("Clip and sentence", ("cli2sen", "sen2cli"), ways, scores)],
        retrievals=[_table(*pair, config) for pair in ways.values()],
        scatters=[picture for picture in maps if picture],
        environment=_environment(e, meta, config),
        notes=_notes(labels, maps),
    )  # fmt: skip
    return write_report(path, report)


Ways = dict[str, tuple[Side, Side]]


def _way_name(query: Side, found: Side) -> str:
    return f"{query.kind.capitalize()} → {found.kind}"


def _headline(way: str, query: Side, found: Side, scores: dict[str, float]) -> Score:
    count = len(found.rows)
    return Score(
        f"{_way_name(query, found)} R@1",
        100 * scores[f"{way}-r1"],
        f"a {query.kind} finds its own {found.kind} first, of {count:,}",
        "%",
        reference=100 / count,
        full=100,
        is_headline=True,
    )


def _level(title: str, names: tuple[str, str], ways: Ways, scores: dict[str, float]) -> RetrievalScores:
    values = {_way_name(*ways[name]): {field: scores[f"{name}-{field}"] for field in FIELDS} for name in names}
    return RetrievalScores(title, len(ways[names[0]][0].rows), values)


def _table(query: Side, found: Side, config: PageConfig) -> RetrievalTable:
    examples = sample_examples(query.rows, found.rows, config.top, config.examples, config.seed)
    queries = [_query(example, query, found) for example in examples.sampled]
    seen = next(side.kind for side in (query, found) if side.kind in SEEN)
    note = _outcomes(examples, config.top) + (f" A {seen} is shown by what is said of it." if any(query.texts) else "")
    return RetrievalTable(_way_name(query, found), len(found.rows), config.top, queries, note)


def _outcomes(examples: Examples, top: int) -> str:
    first, near, missed = examples.counts.values()
    later = f", {near:,} among the first {top}" if top > 1 else ""
    return (
        f"Of {first + near + missed:,} queries {first:,} find their own counterpart first{later}, {missed:,} further "
        f"down. Below are {len(examples.sampled)} of them, drawn at random from each kind."
    )


def _query(example: Example, query: Side, found: Side) -> RetrievalQuery:
    own = found.texts[example.query].casefold()
    hits = [
        Hit(
            rank + 1,
            similarity,
            found.names[row],
            found.texts[row],
            row == example.query,
            "same words" if own and row != example.query and found.texts[row].casefold() == own else "",
        )
        for rank, row, similarity in example.found
    ]
    return RetrievalQuery(query.names[example.query], hits, query.texts[example.query])


def _environment(e: Embeddings, meta: str | Path | None, config: PageConfig) -> list[tuple[str, str]]:
    import sklearn

    return [
        ("embeddings", f"{e.path}, sha256 {file_sha256(e.path)[:16]}…"),
        ("size", f"videos and paragraphs {e.vid_emb.shape[1]}, clips and sentences {e.clip_emb.shape[1]}"),
        ("annotations", str(meta or "none given")),
        ("seed", str(config.seed)),
        ("cootmart", cootmart.__version__),
        ("numpy", np.__version__),
        ("scikit-learn", sklearn.__version__),
    ]


def _notes(labels: Labels, maps: list[Scatter | None]) -> list[str]:
    notes = ["Ranked by cosine similarity; of equally similar candidates the later one comes first."]
    if count := repeated(labels.sentences):
        notes.append(
            f"{count:,} of {len(labels.sentences):,} sentences are said of another clip too, word for word. Only the "
            "one of the same clip counts as right; the others are tagged “same words”."
        )
    if not labels.paragraphs[0]:
        notes.append("No annotations were given (--meta), so videos and sentences appear by their names alone.")
    if None in maps:
        notes.append("There are too few videos or clips for a map of them.")
    return notes
