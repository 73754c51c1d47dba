"""BLEU-1..4 and CIDEr-D of many texts at once, with everything about the references computed beforehand.

An n-gram is a number: its rank among the distinct n-grams of the references (new n-grams of a hypothesis come
after them). A word is its rank, a longer n-gram the pair (rank of its first n-1 words, last word), so no hash is
involved and two n-grams never fall together. All counting is then sorting of 64-bit integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MAX_N = 4
SIGMA = 6.0  # width of CIDEr-D's length penalty, in bigrams
TINY, SMALL = 1e-15, 1e-9  # what BLEU adds to numerators and denominators


@dataclass(frozen=True)
class NgramScores:
    """Fractions; CIDEr includes its factor of 10."""

    bleu: np.ndarray  # (4,) of the corpus
    bleu_each: np.ndarray  # (V, 4) of each text
    bleu_counts: np.ndarray  # (V, 10) `bleu_score` of their sum is `bleu`
    cider: np.ndarray  # (V,)


class _WordIds(dict):
    def __missing__(self, word: str) -> int:
        return self.setdefault(word, len(self))


@dataclass(frozen=True)
class _Order:
    """The references' n-grams of one length n."""

    table: np.ndarray  # (G,) sorted codes of the distinct n-grams
    idf: np.ndarray  # (G,)
    text_keys: np.ndarray  # sorted text << 32 | rank
    tfidf: np.ndarray  # of each text key
    norm: np.ndarray  # (texts,) length of the tf-idf vector
    video_keys: np.ndarray  # sorted video << 32 | rank
    max_count: np.ndarray  # of each video key: the largest count in one reference


def _words(texts: Sequence[str], ids: _WordIds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Word ids (T,) of all texts in a row, the text (T,) of each word, and lengths (texts,)."""
    split = [text.split() for text in texts]
    lengths = np.array([len(words) for words in split], dtype=np.int64)
    words = np.fromiter((ids[word] for words in split for word in words), np.int64, lengths.sum())
    return words, np.repeat(np.arange(len(texts)), lengths), lengths


def _extend(words: np.ndarray, text: np.ndarray, start: np.ndarray, rank: np.ndarray, n: int):
    """From the (n-1)-grams at ``start`` with ``rank`` to the starts and codes of the n-grams (n = 1: from rank 0)."""
    end = start + n - 1
    inside = end < len(words)
    inside[inside] = text[end[inside]] == text[start[inside]]
    return start[inside], rank[inside] << 32 | words[end[inside]]


def _rank(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Positions of ``codes`` in ``table``; codes that are not in it follow after its end."""
    rank = np.searchsorted(table, codes)
    new = ~_is_at(codes, table, rank)
    rank[new] = len(table) + np.unique(codes[new], return_inverse=True)[1]
    return rank


def _is_at(codes: np.ndarray, table: np.ndarray, place: np.ndarray) -> np.ndarray:
    found = place < len(table)
    found[found] = table[place[found]] == codes[found]
    return found


def _look_up(keys: np.ndarray, table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of each key, 0 for keys that are not in the sorted ``table``."""
    place = np.searchsorted(table, keys)
    found = _is_at(keys, table, place)
    result = np.zeros(len(keys), values.dtype)
    result[found] = values[place[found]]
    return result


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros(np.shape(a)), where=b != 0)


class NgramReferences:
    """The references of V videos, prepared for BLEU and CIDEr-D.

    Args:
        references: for each video at least one letters-only text. Document frequencies count videos.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        texts = [text for group in references for text in group]
        groups = [len(group) for group in references]
        self._video = np.repeat(np.arange(len(groups)), groups)  # (texts,)
        self._ids = _WordIds()
        words, text, self._lengths = _words(texts, self._ids)
        # (V, R) text of each reference, -1 where a video has fewer
        self._texts = np.full((len(groups), max(groups)), -1)
        slots = np.concatenate([np.arange(group) for group in groups])
        self._texts[self._video, slots] = np.arange(len(texts))
        self._orders = self._prepare(words, text)

    def _prepare(self, words: np.ndarray, text: np.ndarray) -> list[_Order]:
        orders, start, rank = [], np.arange(len(words)), np.zeros_like(words)
        for n in range(1, MAX_N + 1):
            start, codes = _extend(words, text, start, rank, n)
            table, rank = np.unique(codes, return_inverse=True)
            orders.append(self._order(table, text[start] << 32 | rank))
        return orders

    def _order(self, table: np.ndarray, occurrences: np.ndarray) -> _Order:
        keys, count = np.unique(occurrences, return_counts=True)
        text, rank = keys >> 32, keys & 0xFFFFFFFF
        video_keys, at = np.unique(self._video[text] << 32 | rank, return_inverse=True)
        max_count = np.zeros(len(video_keys), np.int64)
        np.maximum.at(max_count, at, count)
        df = np.bincount(video_keys & 0xFFFFFFFF, minlength=len(table))
        idf = np.log(len(self._texts)) - np.log(np.maximum(df, 1))
        tfidf = count * idf[rank]
        norm = np.sqrt(np.bincount(text, tfidf**2, minlength=len(self._video)))
        return _Order(table, idf, keys, tfidf, norm, video_keys, max_count)

    def score(self, hypotheses: Sequence[str]) -> NgramScores:
        """Scores of one letters-only text a video, in the order of the references."""
        words, text, lengths = _words(hypotheses, _WordIds(self._ids))
        correct = np.zeros((len(hypotheses), MAX_N), np.int64)
        cosine = np.zeros((*self._texts.shape, MAX_N))  # (V, R, 4)
        for n, (order, keys, count) in enumerate(self._count(words, text)):
            correct[:, n] = _clipped(keys, count, order, len(hypotheses))
            cosine[..., n] = self._cosine(keys, count, order, self._texts)
        counts = self._bleu_counts(correct, lengths)
        cider = self._cider(cosine, lengths, self._texts)
        return NgramScores(bleu_score(counts.sum(0)), bleu_score(counts), counts, cider)

    def cider(self, hypotheses: Sequence[str], videos: Sequence[int]) -> np.ndarray:
        """CIDEr-D (H,) of any texts, ``hypotheses[i]`` against the references of video ``videos[i]``."""
        words, text, lengths = _words(hypotheses, _WordIds(self._ids))
        texts = self._texts[np.asarray(videos, np.int64)]
        cosines = [self._cosine(keys, count, order, texts) for order, keys, count in self._count(words, text)]
        return self._cider(np.stack(cosines, axis=-1), lengths, texts)

    def _count(self, words: np.ndarray, text: np.ndarray) -> Iterator[tuple[_Order, np.ndarray, np.ndarray]]:
        """For n = 1..4 the order, the distinct n-grams of each text as text << 32 | rank, and how often each occurs."""
        start, rank = np.arange(len(words)), np.zeros_like(words)
        for n, order in enumerate(self._orders, 1):
            start, codes = _extend(words, text, start, rank, n)
            rank = _rank(codes, order.table)
            yield order, *np.unique(text[start] << 32 | rank, return_counts=True)

    def _cosine(self, keys: np.ndarray, count: np.ndarray, order: _Order, texts: np.ndarray) -> np.ndarray:
        """Clipped similarity (H, R) of the tf-idf vectors of one order to those of the references ``texts`` (H, R)."""
        video, rank = keys >> 32, keys & 0xFFFFFFFF
        unseen = np.log(len(self._texts))  # document frequency 0 counts as 1
        known = rank < len(order.table)
        tfidf = count * np.where(known, order.idf[np.where(known, rank, 0)] if len(order.idf) else unseen, unseen)
        size = len(texts)
        norm = np.sqrt(np.bincount(video, tfidf**2, minlength=size))
        result = np.zeros(texts.shape)
        for slot, text in enumerate(texts.T):
            reference = _look_up(text[video] << 32 | rank, order.text_keys, order.tfidf)
            product = np.bincount(video, np.minimum(tfidf, reference) * reference, minlength=size)
            result[:, slot] = _ratio(product, norm * np.where(text >= 0, order.norm[text], 0.0))
        return result

    def _cider(self, cosine: np.ndarray, lengths: np.ndarray, texts: np.ndarray) -> np.ndarray:
        bigrams, reference = np.maximum(lengths - 1, 0), np.maximum(self._lengths - 1, 0)
        delta = bigrams[:, None] - reference[texts]  # (H, R)
        each = cosine.mean(-1) * np.exp(-(delta**2) / (2 * SIGMA**2))  # 0 where there is no reference
        return 10.0 * each.sum(1) / (texts >= 0).sum(1)

    def _bleu_counts(self, correct: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        reference = self._lengths[self._texts]  # (V, R)
        distance = np.where(
            self._texts >= 0, abs(reference - lengths[:, None]) << 32 | reference, np.iinfo(np.int64).max
        )
        closest = distance.min(1) & 0xFFFFFFFF  # of two equally close lengths the shorter
        guess = np.maximum(lengths[:, None] - np.arange(MAX_N), 0)
        return np.concatenate([correct, guess, lengths[:, None], closest[:, None]], axis=1)


def _clipped(keys: np.ndarray, count: np.ndarray, order: _Order, size: int) -> np.ndarray:
    """(V,) n-grams of the hypotheses that a reference has, each at most as often as one reference has it."""
    matched = np.minimum(count, _look_up(keys, order.video_keys, order.max_count))
    return np.bincount(keys >> 32, matched, minlength=size).astype(np.int64)


def bleu_score(counts: np.ndarray) -> np.ndarray:
    """BLEU-1..4 (..., 4) with the brevity penalty (Papineni et al., ACL 2002) of texts, or of sums over texts.

    Args:
        counts: (..., 10) for n = 1..4 the n-grams that a reference has, then for n = 1..4 all n-grams; words of the
            text, and words of the reference that is closest in length.
    """
    correct, guess, length, reference = counts[..., :4], counts[..., 4:8], counts[..., 8], counts[..., 9]
    precision = np.cumprod((correct + TINY) / (guess + SMALL), axis=-1) ** (1 / np.arange(1, MAX_N + 1))
    ratio = (length + TINY) / (reference + SMALL)
    return precision * np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)[..., None]
