"""t-SNE pictures of videos with their paragraphs, and of clips with their sentences (Figure 4 of the COOT paper)."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from cootmart.retrieval.labels import Labels
from encoder.embeddings import Embeddings
from encoder.projection import FEWEST, cluster, tsne
from evaluation.report_data import Mark, Scatter
from evaluation.report_html import N_COLOURS

MOST_PAIRS = 1000
POSITIONS = ("beginning", "middle", "end")
TITLE_LENGTH = 140
READING = "Neighbours in the picture are neighbours in the space; distances between far groups and axes mean nothing."


def video_map(embeddings: Embeddings, labels: Labels, seed: int = 0) -> Scatter | None:
    """Videos and paragraphs, coloured by the group of the annotations, else by cluster; None if there are too few."""
    rows = _some(np.arange(len(embeddings)), MOST_PAIRS, seed)
    if 2 * len(rows) < FEWEST:
        return None
    if labels.has_groups:
        groups, coloured, how = [labels.groups[row] for row in rows], *_largest(labels)
    else:
        groups, coloured, how = _clusters(embeddings, labels, rows, seed)
    titles = [_titles(labels.videos[row], labels.paragraphs[row]) for row in rows]
    places = tsne(np.concatenate([embeddings.vid_emb[rows], embeddings.par_emb[rows]]), seed)
    note = f"{_counted(rows, embeddings.keys, 'videos')} {how} {READING}"
    return _scatter("Videos and their paragraphs", ("video", "paragraph"), places, groups, coloured, titles, note)


def clip_map(embeddings: Embeddings, labels: Labels, seed: int = 0) -> Scatter | None:
    """Clips and sentences, coloured by the group of their video, else by their place in it; None if too few."""
    rows = _some(np.arange(len(labels.clips)), MOST_PAIRS, seed)
    if 2 * len(rows) < FEWEST:
        return None
    if labels.has_groups:
        groups, coloured, how = [labels.groups[labels.owner[row]] for row in rows], *_largest(labels)
    else:
        groups, coloured = _positions(embeddings, labels)[rows].tolist(), list(POSITIONS)
        how = "Colours: where in its video the clip stands."
    titles = [_titles(labels.clips[row], labels.sentences[row]) for row in rows]
    places = tsne(np.concatenate([embeddings.clip_emb[rows], embeddings.sent_emb[rows]]), seed)
    note = f"{_counted(rows, labels.clips, 'clips')} {how} {READING}"
    return _scatter("Clips and their sentences", ("clip", "sentence"), places, groups, coloured, titles, note)


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _counted(rows: np.ndarray, everything: list[str], what: str) -> str:
    if len(rows) == len(everything):
        return f"All {len(rows):,} {what}."
    return f"{len(rows):,} of {len(everything):,} {what}, drawn at random."


def _largest(labels: Labels) -> tuple[list[str], str]:
    """The groups with most videos, one a colour, and a sentence that says so."""
    known = Counter(group for group in labels.groups if group)
    largest = sorted(group for group, _ in known.most_common(N_COLOURS))
    some = f"{len(largest)} largest of the {len(known)} " if len(known) > len(largest) else ""
    return largest, f"Colours: the {some}groups of videos in the annotations."


def _clusters(embeddings: Embeddings, labels: Labels, rows: np.ndarray, seed: int) -> tuple[list[str], list[str], str]:
    """The cluster of each video, all clusters, and a sentence that says how they were made."""
    numbers = cluster(embeddings.vid_emb[rows], N_COLOURS, seed)
    names = _cluster_names([labels.paragraphs[row] for row in rows], numbers)
    how = "Colours: clusters of the video embeddings (k-means)"
    how += ", named by the words that tell their paragraphs from the others." if labels.paragraphs[0] else "."
    return [names[number] for number in numbers], names, how


def _cluster_names(texts: list[str], numbers: np.ndarray) -> list[str]:
    """A name for each cluster: three words that more of its texts have than of the others; its number without any.

    Words that most texts have tell nothing and are left out.
    """
    words = [set(re.findall(r"[^\W\d_]{3,}", text.lower())) for text in texts]
    common = {word for word, count in Counter(w for each in words for w in each).items() if 2 * count > len(texts)}
    names = []
    for number in range(numbers.max() + 1):
        inside = Counter(word for i in np.flatnonzero(numbers == number) for word in words[i] - common)
        outside = Counter(word for i in np.flatnonzero(numbers != number) for word in words[i])
        n, m = int((numbers == number).sum()), max(int((numbers != number).sum()), 1)
        gain = {word: count / n * math.log(count / n * (m + 1) / (outside[word] + 1)) for word, count in inside.items()}
        telling = sorted((word for word in gain if gain[word] > 0), key=lambda word: (-gain[word], word))[:3]
        names.append(f"{number + 1}: {', '.join(telling)}" if telling else f"cluster {number + 1}")
    return names


def _positions(embeddings: Embeddings, labels: Labels) -> np.ndarray:
    """(M,) part of the video that each clip stands in; the first clip is always the beginning, the last the end."""
    place = np.arange(len(labels.owner)) - embeddings.starts[labels.owner]
    last = np.maximum(embeddings.clip_num[labels.owner] - 1, 1)
    return np.array(POSITIONS)[np.rint(2 * place / last).astype(int)]


def _titles(name: str, text: str) -> str:
    title = f"{name}: {text}" if text else name
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"


def _scatter(
    title: str,
    kinds: tuple[str, str],
    places: np.ndarray,
    groups: list[str],
    coloured: list[str],
    titles: list[str],
    note: str,
) -> Scatter:
    """Marks of one kind, then those of the other in the same order, each linked with its counterpart."""
    n = len(groups)
    marks = [
        Mark(float(x), float(y), kinds[i >= n], groups[i % n], f"{kinds[i >= n]} {titles[i % n]}")
        for i, (x, y) in enumerate(places)
    ]
    return Scatter(title, marks, coloured, [(i, n + i) for i in range(n)], note)
