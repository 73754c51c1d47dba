"""Word features by name, the counterpart of `encoder.features.backbones` for text."""

from __future__ import annotations

from encoder.features.text import GloveWords, HashedWords, SentenceEncoder
from training.errors import CootmartError


def load_words(name: str) -> SentenceEncoder:
    """The text encoder called ``name``.

    Args:
        name: ``hashed:DIM`` (a random vector a word), ``glove:FILE``, ``minilm``, or the folder or hub name of a
            BERT-type model.

    Raises:
        CootmartError: the name says nothing, or the model cannot be had.
    """
    kind, _, value = name.partition(":")
    if kind == "hashed":
        if not value.isdigit() or not int(value):
            raise CootmartError(f"words: found {name!r}, expected a width, for example hashed:256")
        return HashedWords(int(value))
    if kind == "glove":
        return GloveWords(value)
    from encoder.features.bert import BertWords

    return BertWords(name)
