"""BLEU, ROUGE-L and CIDEr-D against ``pycocoevalcap``; repetition, diversity and statistics by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from evaluation.ngrams import NgramReferences
from evaluation.repetition import clean, repetition, repetition_of
from evaluation.rouge import RougeReferences
from evaluation.statistics import novelty, sentence_statistics
from evaluation.tokenization import letters_only, split_sentences, word_tokenize


def random_corpus(seed: int) -> tuple[list[list[str]], list[str]]:
    """Texts of a small vocabulary (so that long n-grams repeat), some empty, one to four references each."""
    rng = random.Random(seed)
    words = [f"w{chr(97 + i)}" for i in range(rng.choice([2, 5, 30]))]

    def text() -> str:
        return " ".join(rng.choices(words, k=rng.choice([0, 1, 2, 3, 5, 20, 60])))

    references = [[text() for _ in range(rng.randint(1, 4))] for _ in range(rng.choice([1, 2, 25]))]
    words += ["new", "other"]  # words that no reference has
    return references, [rng.choice([text(), group[0]]) for group in references]


@pytest.mark.parametrize("seed", range(40))
def test_same_numbers_as_pycocoevalcap(seed):
    references, hypotheses = random_corpus(seed)
    gts, res = dict(enumerate(references)), {i: [text] for i, text in enumerate(hypotheses)}
    found = NgramReferences(references).score(hypotheses)
    bleu, bleu_each = Bleu(4).compute_score(gts, res, verbose=0)
    np.testing.assert_allclose(found.bleu, bleu, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.bleu_each, np.transpose(bleu_each), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.cider, Cider().compute_score(gts, res)[1], rtol=0, atol=1e-12)
    rouge = RougeReferences(references).score(hypotheses)
    np.testing.assert_allclose(rouge, Rouge().compute_score(gts, res)[1], rtol=0, atol=1e-12)
    videos = [*range(len(hypotheses))[::-1], 0, 0]  # any texts, any videos, any order
    some = NgramReferences(references).cider([hypotheses[i] for i in videos], videos)
    np.testing.assert_allclose(some, found.cider[videos], rtol=0, atol=1e-12)


def test_repetition_by_hand():
    counts, diversity = repetition_of(["add oil, oil.", "add oil"])
    # add oil oil | add oil: 5 words of 2 kinds; bigrams add-oil twice, oil-oil; one trigram; none across sentences
    assert counts.tolist() == [3 / 5, 1 / 3, 0, 0]
    assert diversity.tolist() == [2 / 5, 2 / 5, 1 / 5, 0]


def test_repetition_keeps_case_and_glued_punctuation():
    assert repetition_of(["A a! a a!."])[0][0] == 1 / 4


@pytest.mark.parametrize("sentence", [".", " ", " .", "", "   "])
def test_a_sentence_of_blanks_and_a_full_stop_is_an_empty_one(sentence):
    assert clean(sentence) == ""
    np.testing.assert_array_equal(repetition_of([sentence, "a b"])[0], repetition_of(["", "a b"])[0])


def test_repetition_without_words_is_zero():
    assert not np.any(repetition_of([]))
    assert {name: values.shape for name, values in repetition([["a"], []]).items()} == {
        f"{name}{n}": (2,) for name in ("re", "div") for n in range(1, 5)
    }


def test_sentence_statistics_by_hand():
    found = sentence_statistics(["The cup. The CUP!", ""])
    assert found == {"vocab_size": 4, "avg_sen_len": 3.0, "num_sen": 2}


def test_novelty_by_hand():
    assert novelty(["Cut it.", "cut it", "stir, stir"], ["CUT IT"]) == {"unique": 2 / 3, "novel": 1 / 3}
    assert novelty(["a"], None) == {"unique": 1.0}


def test_tokenization():
    assert letters_only("Don't\npan-fry 2 café\u212a|||X") == "don t pan fry caf x"
    assert word_tokenize("don't stop. Mr. Ed can't.") == ["do", "n't", "stop", ".", "Mr.", "Ed", "ca", "n't", "."]
    assert split_sentences(" One cup. Two cups! ") == ["One cup.", "Two cups!"]
