"""Words and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from evaluation.tokenization import word_tokenize
from training.errors import CootmartError
from training.files import read_json, write_json

PAD, CLS, SEP, VID, BOS, EOS, UNK = range(7)
IGNORE = -1  # label of a position that has none
SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[VID]", "[BOS]", "[EOS]", "[UNK]")


def tokenize(sentence: str) -> list[str]:
    """Lower-case tokens of a caption, punctuation included."""
    return word_tokenize(sentence.lower())


class Vocabulary:
    """Token <-> id; ids 0 to 6 are the special tokens, words follow."""

    def __init__(self, words: Sequence[str]) -> None:
        """Take the words behind the special tokens, in the order of their ids."""
        self.tokens = (*SPECIALS, *words)
        self.index = {token: i for i, token in enumerate(self.tokens)}
        if len(self.index) != len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise CootmartError(f"vocabulary: {twice!r} occurs twice")

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int = 3) -> Vocabulary:
        """Words that occur more than ``min_count`` times, the frequent first, then in alphabetical order."""
        counts = Counter(token for caption in captions for token in tokenize(caption))
        kept = [word for word, count in counts.items() if count > min_count]
        return cls(sorted(kept, key=lambda word: (-counts[word], word)))

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read ``{token: id}``, the format of the published ``mart_word2idx.json``.

        Raises:
            CootmartError: the special tokens are not ids 0 to 6, or ids are missing.
        """
        index = read_json(path)
        if not isinstance(index, dict) or not all(isinstance(i, int) for i in index.values()):
            raise CootmartError(f"{path}: expected an object of token -> id")
        if sorted(index.values()) != list(range(len(index))):
            raise CootmartError(f"{path}: the ids are not exactly 0 to {len(index) - 1}")
        tokens = sorted(index, key=index.__getitem__)
        if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
            raise CootmartError(f"{path}: ids 0 to 6 are {', '.join(tokens[:7])}, expected {', '.join(SPECIALS)}")
        return cls(tokens[len(SPECIALS) :])

    def save(self, path: str | Path) -> None:
        """Write ``{token: id}``."""
        write_json(path, self.index)

    def encode(self, sentence: str, max_t_len: int) -> list[int]:
        """``[BOS] words [EOS]`` of a caption, at most ``max_t_len`` ids; unknown words become [UNK]."""
        words = [self.index.get(token, UNK) for token in tokenize(sentence)[: max_t_len - 2]]
        return [BOS, *words, EOS]

    def decode(self, ids: Iterable[int]) -> str:
        """The words behind a leading [BOS] and before the first [EOS], joined by blanks; [PAD] is left out."""
        kept = [i for i in ids if i not in (PAD, IGNORE)]
        kept = kept[kept[:1] == [BOS] :]
        end = kept.index(EOS) if EOS in kept else len(kept)
        return " ".join(self.tokens[i] for i in kept[:end])
