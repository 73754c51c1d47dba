"""GloVe vectors for the words of a vocabulary."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from captioner.vocabulary import Vocabulary
from training.errors import CootmartError
from training.files import atomic_path

SPREAD = 0.4  # standard deviation of the vectors of tokens that GloVe does not know


def load_glove(path: str | Path, vocabulary: Vocabulary, size: int = 300, seed: int = 0) -> np.ndarray:
    """Vectors (V, size) float32; special tokens and words that are not in the file get ``0.4 * randn``.

    The text file (``word v1 v2 ...`` a line) is read once for a vocabulary: the result is kept beside it.

    Raises:
        CootmartError: the file is missing, or its vectors have another size.
    """
    path = Path(path)
    if not path.exists():
        raise CootmartError(f"{path}: no such file; expected GloVe vectors as text, such as glove.6B.300d.txt")
    stamp = f"{path.stat().st_size} {seed} {size} {' '.join(vocabulary.tokens)}"
    kept = path.with_name(f"{path.stem}.{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.npy")
    if kept.exists():
        return np.load(kept, allow_pickle=False)
    vectors = _read(path, vocabulary, size, np.random.default_rng(seed))
    with atomic_path(kept) as beside, beside.open("wb") as file:
        np.save(file, vectors)
    return vectors


def _read(path: Path, vocabulary: Vocabulary, size: int, random: np.random.Generator) -> np.ndarray:
    vectors = (SPREAD * random.standard_normal((len(vocabulary), size))).astype(np.float32)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            word, _, values = line.rstrip("\n").partition(" ")
            if word not in vocabulary.index:
                continue
            vector = np.array(values.split(), dtype=np.float32)
            if len(vector) != size:
                raise CootmartError(
                    f"{path}: line {number}: {word!r} has {len(vector)} values, expected {size} (word_vec_size)"
                )
            vectors[vocabulary.index[word]] = vector
    return vectors
