"""Word features of paragraphs: read and written in the published layout.

``<name>.h5`` holds one data set (tokens, D) a datapoint key, the sentences of the paragraph back to back, and
``<name>_sentence_splits.json`` the number of tokens of each sentence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from encoder.data.meta import Video
from encoder.features.store import MEMORY, Hdf5Features, write_features
from training.errors import CootmartError
from training.files import read_json, write_json
from training.progress import track

WORD = re.compile(r"\w+(?:['’]\w+)*")  # noqa: RUF001


def splits_path(path: str | Path) -> Path:
    """The JSON file with the sentence lengths that belongs to the HDF5 file ``path``."""
    path = Path(path)
    return path.with_name(f"{path.stem}_sentence_splits.json")


class WordFeatures:
    """Words of the paragraphs of many videos.

    Args:
        path: the HDF5 file; its sentence splits lie beside it.
        dim: width every word must have; None takes that of the first paragraph.
        memory: bytes to keep after the first use.
    """

    def __init__(self, path: str | Path, dim: int | None = None, memory: int = MEMORY) -> None:
        self.path = str(path)
        self._words = Hdf5Features(path, dim, memory)
        self._splits = read_json(splits_path(path))
        if not isinstance(self._splits, dict):
            raise CootmartError(f"{splits_path(path)}: expected {{video: [tokens of each sentence]}}")

    @property
    def dim(self) -> int | None:
        """Width of a word, once known."""
        return self._words.dim

    def require(self, videos: Iterable[Video]) -> None:
        """Raise `CootmartError` unless every video has words for just as many sentences as it has segments."""
        videos = list(videos)
        self._words.require(self._stored(video.key) for video in videos)
        for video in videos:
            lengths = self._lengths(self._stored(video.key))
            if len(lengths) != len(video.segments):
                raise CootmartError(
                    f"{splits_path(self.path)}: {video.key}: found {len(lengths)} sentences, expected "
                    f"{len(video.segments)} as in the annotations; extract the word features again"
                )

    def _stored(self, key: str) -> str:
        """The published files of ActivityNet name some paragraphs by the video alone."""
        return key if key in self._words else other if (other := f"v_{key[:11]}") in self._words else key

    def _lengths(self, stored: str) -> list[int]:
        lengths = self._splits.get(stored)
        whole = isinstance(lengths, list) and all(type(n) is int and n > 0 for n in lengths)
        if not whole:
            raise CootmartError(
                f"{splits_path(self.path)}: {stored}: found {lengths!r}, expected a list of token numbers above 0"
            )
        return lengths

    def read(self, key: str) -> tuple[np.ndarray, list[np.ndarray]]:
        """Words of a paragraph (W, D), and the same cut into sentences.

        Raises:
            CootmartError: the key is missing, the words are no finite (W, D), or the lengths do not add up to W.
        """
        stored = self._stored(key)
        words, lengths = self._words.read(stored), self._lengths(stored)
        if sum(lengths) != len(words):
            raise CootmartError(
                f"{splits_path(self.path)}: {stored}: sentence lengths add up to {sum(lengths)}, expected the "
                f"{len(words)} tokens of {self.path}"
            )
        return words, np.split(words, np.cumsum(lengths)[:-1])


class SentenceEncoder(Protocol):
    """Turns the sentences of one paragraph into word features."""

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Words of each sentence, a list of (w >= 1, D) arrays."""


def write_word_features(path: str | Path, videos: Iterable[Video], encoder: SentenceEncoder) -> int:
    """Encode every paragraph and write ``path`` and its sentence splits; gives the number of videos."""
    splits: dict[str, list[int]] = {}

    def encoded() -> Iterator[tuple[str, np.ndarray]]:
        for video in track(list(videos), "word features"):
            sentences = encoder.encode([segment.text for segment in video.segments])
            splits[video.key] = [len(words) for words in sentences]
            yield video.key, np.concatenate(sentences)

    count = write_features(path, encoded())
    write_json(splits_path(path), splits)
    return count


def words_of(text: str) -> list[str]:
    """Lower-case words of ``text``; a text without any letter or digit is one word."""
    return WORD.findall(text.lower()) or [text.strip()]


class HashedWords:
    """Each word has its own random vector with entries from N(0, 1), drawn from a hash of its letters.

    No file and no training: the encoder learns what the words mean. Enough where the vocabulary is small.

    Args:
        dim: width of a word.
    """

    def __init__(self, dim: int = 256) -> None:
        self.dim = dim
        self._vectors: dict[str, np.ndarray] = {}

    def _vector(self, word: str) -> np.ndarray:
        if word not in self._vectors:
            seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            self._vectors[word] = np.random.default_rng(seed).standard_normal(self.dim, np.float32)
        return self._vectors[word]

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Words of each sentence -> list of (w, dim) float32."""
        return [np.stack([self._vector(word) for word in words_of(text)]) for text in sentences]


class GloveWords:
    """Word vectors of a GloVe text file; a word that is not in it gets zeros.

    Args:
        path: lines of a word and its numbers, in UTF-8.
        vocabulary: the words to keep; None keeps all.

    Raises:
        CootmartError: the file is missing, not UTF-8, or a line differs in its number of columns.
    """

    def __init__(self, path: str | Path, vocabulary: Iterable[str] | None = None) -> None:
        keep = None if vocabulary is None else set(vocabulary)
        self._vectors: dict[str, np.ndarray] = {}
        try:
            with Path(path).open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    self._add(line.rstrip("\n"), keep, f"{path}: line {number}")
        except FileNotFoundError:
            raise CootmartError(f"{path}: no such file; expected a GloVe text file such as glove.6B.300d.txt") from None
        except UnicodeDecodeError as error:
            raise CootmartError(f"{path}: not UTF-8 text ({error})") from None
        if not self._vectors:
            raise CootmartError(f"{path}: none of the words asked for is in this file")
        self._unknown = np.zeros(self.dim, np.float32)

    def _add(self, line: str, keep: set[str] | None, where: str) -> None:
        if not hasattr(self, "dim"):
            self.dim = line.count(" ")
        word, *numbers = line.rsplit(" ", self.dim)  # a few words hold blanks themselves
        if keep is not None and word not in keep:
            return
        try:
            vector = np.array(numbers, np.float32)
        except ValueError:
            vector = np.empty(0, np.float32)
        if self.dim < 2 or len(vector) != self.dim or not np.isfinite(vector).all():
            raise CootmartError(f"{where}: expected a word and {max(self.dim, 2)} finite numbers, found {line[:60]!r}")
        self._vectors[word] = vector

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Words of each sentence -> list of (w, dim) float32."""
        return [np.stack([self._vectors.get(word, self._unknown) for word in words_of(text)]) for text in sentences]
