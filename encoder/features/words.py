"""Word features by name, the counterpart of `encoder.features.backbones` for text."""

from __future__ import annotations

from collections.abc import Iterable

from encoder.features.text import GloveWords, HashedWords, SentenceEncoder, words_of
from training.errors import CootmartError

FORMS = "minilm, hashed:DIM, glove:FILE, or the folder or Hub name of a BERT-type model"


def load_words(name: str, sentences: Iterable[str] | None = None) -> SentenceEncoder:
    """The text encoder called ``name``.

    Args:
        name: ``hashed:DIM`` (a random vector a word), ``glove:FILE``, ``minilm``, or the folder or hub name of a
            BERT-type model.
        sentences: all that will be encoded, if that is known: of a GloVe file only their words are read.

    Raises:
        CootmartError: the name says nothing, or the model cannot be had.
    """
    kind, _, value = name.partition(":")
    if kind == "hashed":
        if not value.isdigit() or not int(value):
            raise CootmartError(f"words: found {name!r}, expected a width, for example hashed:256")
        return HashedWords(int(value))
    if kind == "glove":
        words = None if sentences is None else {word for text in sentences for word in words_of(text)}
        return GloveWords(value, words)
    if name in ("", "unknown"):
        raise CootmartError(f"words: found {name!r}, expected how word features are made: {FORMS}")
    from encoder.features.bert import BertWords

    return BertWords(name)
