"""Size of the vocabulary, length of the sentences, and how much of them is new."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from evaluation.repetition import clean
from evaluation.tokenization import word_tokenize


def sentence_statistics(sentences: Sequence[str]) -> dict[str, float]:
    """``vocab_size`` (distinct lower-case tokens, punctuation included), ``avg_sen_len`` (tokens), ``num_sen``.

    ``sentences`` must not be empty.
    """
    tokens = [word_tokenize(sentence.lower()) for sentence in sentences]
    total = sum(map(len, tokens))
    vocabulary = {token for sentence in tokens for token in sentence}
    return {
        "vocab_size": len(vocabulary),
        "avg_sen_len": total / len(sentences),
        "num_sen": len(sentences),
    }


def novelty(sentences: Sequence[str], training: Collection[str] | None) -> dict[str, float]:
    """``unique``: distinct sentences over all; ``novel``: share of sentences that no training sentence equals.

    Sentences are compared in lower case without final full stop and commas. Without ``training`` there is no ``novel``.
    ``sentences`` must not be empty.
    """
    said = [normalized(sentence) for sentence in sentences]
    result = {"unique": len(set(said)) / len(said)}
    if training is not None:
        known = {normalized(sentence) for sentence in training}
        result["novel"] = sum(sentence not in known for sentence in said) / len(said)
    return result


def normalized(sentence: str) -> str:
    """The form in which sentences are compared."""
    return clean(sentence).strip().lower()
