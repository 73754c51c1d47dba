"""Repetition R@1..4 and diversity Div@1..4 within the paragraphs of a submission."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

MAX_N = 4
_BLANKS = re.compile(" +")


def clean(sentence: str) -> str:
    """``sentence`` without its final full stop and with blanks for commas, as R@n sees it.

    Only that: case stays, other punctuation stays glued to its word. A sentence of nothing but blanks and a full
    stop is the empty sentence (the published code fails on it).
    """
    return _BLANKS.sub(" ", sentence.removesuffix(".").rstrip(" ").replace(",", " "))


def ngram_counts(sentences: Iterable[str]) -> list[Counter]:
    """For n = 1..4 the n-grams of all sentences together; none crosses from a sentence into the next."""
    counts: list[Counter] = [Counter() for _ in range(MAX_N)]
    for sentence in sentences:
        words = clean(sentence).split(" ")
        for n, counter in enumerate(counts, 1):
            counter.update(zip(*(words[i:] for i in range(n)), strict=False))
    return counts


def repetition_of(sentences: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """R@1..4 and Div@1..4 of one paragraph, (4,) each.

    R@n is the share of n-grams that have occurred before in the paragraph, 0 without n-grams. Div@n is the number
    of distinct n-grams over the number of words, 0 without words.
    """
    counts = ngram_counts(sentences)
    total = np.array([sum(counter.values()) for counter in counts])
    distinct = np.array([len(counter) for counter in counts])
    return (total - distinct) / np.maximum(total, 1), distinct / max(total[0], 1)


def repetition(paragraphs: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
    """``re1``..``re4`` and ``div1``..``div4`` of each paragraph, (V,) each."""
    each = [repetition_of(sentences) for sentences in paragraphs]
    names = [f"{name}{n}" for name in ("re", "div") for n in range(1, MAX_N + 1)]
    return dict(zip(names, np.array(each).reshape(len(each), -1).T, strict=True))
