"""ROUGE-L (Lin, 2004) as coco-caption computes it, with the longest common subsequence in machine words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BETA = 1.2


class RougeReferences:
    """The references of V videos: for each the places of every word as bits of one integer."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        self._references = [[_places(text) for text in group] for group in references]

    def score(self, hypotheses: Sequence[str]) -> np.ndarray:
        """ROUGE-L (V,) in 0..1 of one letters-only text a video, in the order of the references."""
        pairs = zip(hypotheses, self._references, strict=True)
        return np.array([_rouge_l(hypothesis.split(" "), group) for hypothesis, group in pairs])


def _places(text: str) -> tuple[dict[str, int], int]:
    # Split at single blanks, so that an empty text has one empty word, as in coco-caption.
    words = text.split(" ")
    places: dict[str, int] = {}
    for i, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << i
    return places, len(words)


def _rouge_l(words: list[str], references: list[tuple[dict[str, int], int]]) -> float:
    common = [(_lcs(words, places, length), length) for places, length in references]
    # The best precision and the best recall may come from different references.
    precision = max(lcs / len(words) for lcs, _ in common)
    recall = max(lcs / length for lcs, length in common)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _lcs(words: list[str], places: dict[str, int], length: int) -> int:
    """Length of the longest common subsequence, all places of the reference at once (Hyyrö, 2004)."""
    full = row = (1 << length) - 1
    for word in words:
        match = row & places.get(word, 0)
        row = (row + match | row - match) & full
    return length - row.bit_count()
