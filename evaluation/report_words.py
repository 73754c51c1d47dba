"""Which words of a generated paragraph are worth a look: those that no reference has, and those said before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import groupby

from evaluation.report_html import Markup, element, join

WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
REPEATED_N = 4
_FREE = (  # words that a right sentence may choose freely
    "a an the and or but then it its he she they them their his her him this that these those is are was were be "
    "been being has have had do does did who which as so"
)
FREE_WORDS = frozenset(_FREE.split())


def words(text: str) -> list[str]:
    """The lower-cased words of ``text`` without its punctuation."""
    return [match.group().lower() for match in WORD.finditer(text)]


@cache
def _stemmer():
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The Porter stem: ``slides``, ``sliding`` and ``slide`` are one."""
    return _stemmer().stem(word)


def wrong_words(sentence: str, references: Sequence[str]) -> list[bool]:
    """For each word of ``sentence``, whether no reference has a word of the same stem.

    Articles, pronouns and auxiliaries are never wrong; without references nothing is.
    """
    known = {stem(word) for reference in references for word in words(reference)}
    return [bool(known) and word not in FREE_WORDS and stem(word) not in known for word in words(sentence)]


def repeated_words(sentences: Sequence[str], n: int = REPEATED_N) -> list[list[int]]:
    """For each word of each sentence, the number of the sentence (from 1) that said the same n-gram first, or 0.

    As in R@n, n-grams do not cross sentences, and every occurrence after the first counts as repetition.
    """
    first: dict[tuple[str, ...], tuple[int, int]] = {}
    result = []
    for number, tokens in enumerate(map(words, sentences), 1):
        marks = [0] * len(tokens)
        for i in range(len(tokens) - n + 1):
            origin = first.setdefault(tuple(tokens[i : i + n]), (number, i))
            if origin != (number, i):
                marks[i : i + n] = [mark or origin[0] for mark in marks[i : i + n]]
        result.append(marks)
    return result


def marked(sentence: str, repeated: Sequence[int], wrong: Sequence[bool]) -> Markup:
    """``sentence`` as HTML: ``<mark>`` around what was said before, ``<u>`` around each wrong word."""
    spans = [match.span() for match in WORD.finditer(sentence)]
    parts: list[object] = []
    end = 0
    for origin, group in groupby(range(len(spans)), key=lambda i: repeated[i]):
        indices = list(group)
        parts.append(sentence[end : spans[indices[0]][0]])
        stretch = _stretch(sentence, [spans[i] for i in indices], [wrong[i] for i in indices])
        parts.append(element("mark", stretch, title=f"said before, in clip {origin}") if origin else stretch)
        end = spans[indices[-1]][1]
    return join([*parts, sentence[end:]])


def _stretch(sentence: str, spans: list[tuple[int, int]], wrong: list[bool]) -> Markup:
    parts: list[object] = []
    end = spans[0][0]
    for (start, stop), is_wrong in zip(spans, wrong, strict=True):
        word = sentence[start:stop]
        parts += [sentence[end:start], element("u", word, title="in no reference") if is_wrong else word]
        end = stop
    return join(parts)
