"""Words, ids and word vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from captioner.glove import load_glove
from captioner.vocabulary import BOS, EOS, SPECIALS, UNK, Vocabulary
from training.errors import CootmartError


def test_build_counts_words_of_all_captions():
    vocabulary = Vocabulary.build(["Add salt.", "add the salt.", "Stir. Add salt"], min_count=1)
    assert vocabulary.tokens == (*SPECIALS, ".", "add", "salt")  # frequent first, ties in alphabetical order


def test_encode_and_decode():
    vocabulary = Vocabulary(["it", "'s", "done", "."])
    ids = vocabulary.encode("  It's DONE quickly.", 22)
    assert ids == [BOS, 7, 8, 9, UNK, 10, EOS]
    assert vocabulary.decode([*ids, 0, 0, 7]) == "it 's done [UNK] ."
    assert vocabulary.decode(ids[1:-1]) == "it 's done [UNK] ."
    assert vocabulary.encode("it it it it it", 5) == [BOS, 7, 7, 7, EOS]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 0}, "expected \\[PAD\\]"),
        ({token: i for i, token in enumerate(SPECIALS)} | {"a": 9}, "not exactly 0 to 7"),
        ([1], "token -> id"),
        ({"a": "b"}, "token -> id"),
    ],
)
def test_wrong_vocabulary_file(tmp_path, content, message):
    (tmp_path / "v.json").write_text(json.dumps(content))
    with pytest.raises(CootmartError, match=message):
        Vocabulary.load(tmp_path / "v.json")


def test_a_word_twice():
    with pytest.raises(CootmartError, match="'a' occurs twice"):
        Vocabulary(["a", "b", "a"])


def test_glove_is_read_once(tmp_path):
    path, vocabulary = tmp_path / "glove.txt", Vocabulary(["salt", "rareword"])
    path.write_text("the 1 1 1\nsalt 1 2 3\n")
    vectors = load_glove(path, vocabulary, size=3)
    assert vectors.shape == (9, 3) and vectors.dtype == np.float32
    assert vectors[7].tolist() == [1, 2, 3]
    assert 0 < np.abs(vectors[8]).max() < 2 and not np.array_equal(vectors[8], vectors[0])
    (kept,) = tmp_path.glob("*.npy")
    np.save(kept, vectors + 1)  # whatever is kept is what comes back
    assert np.array_equal(load_glove(path, vocabulary, size=3), vectors + 1)
    path.write_text("the 1 1 1\nsalt 4 5 6 \n")  # another file, read anew
    assert load_glove(path, vocabulary, size=3)[7].tolist() == [4, 5, 6]


def test_glove_errors(tmp_path):
    with pytest.raises(CootmartError, match="no such file"):
        load_glove(tmp_path / "nothing.txt", Vocabulary(["a"]))
    (tmp_path / "glove.txt").write_text("a 1 2\n")
    with pytest.raises(CootmartError, match="line 1: 'a' has 2 values, expected 300"):
        load_glove(tmp_path / "glove.txt", Vocabulary(["a"]))
