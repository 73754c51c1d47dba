"""Words that a report marks: those of no reference, and those said before."""

from __future__ import annotations

import re
from html import unescape

from evaluation.report_words import marked, repeated_words, wrong_words


def test_wrong_words_are_those_of_no_reference():
    references = ["The green triangle slides left.", "It is moving to the left."]
    sentence = "The red triangle was sliding; it moves left again."
    expected = ["red", "again"]
    assert [
        w for w, bad in zip(re.findall(r"\w+", sentence), wrong_words(sentence, references), strict=True) if bad
    ] == expected
    assert not any(wrong_words(sentence, []))


def test_repeated_words_name_the_first_place_and_do_not_cross_sentences():
    sentences = ["The cat sits on it.", "So the cat sits on a mat", "on it the", "now now now now now now"]
    assert repeated_words(sentences) == [[0] * 5, [0, 1, 1, 1, 1, 0, 0], [0] * 3, [0, 4, 4, 4, 4, 4]]


def test_marks_keep_the_text_and_lie_on_the_words():
    sentence = "A & B: the <red> \u201cwall\u201d, don\u2019t hide\u2026"
    html = marked(sentence, [0, 0, 3, 3, 0, 0, 0], [False, False, False, True, False, True, False])
    assert unescape(re.sub(r"</?(u|mark)\b[^>]*>", "", html)) == sentence
    assert '<mark title="said before, in clip 3">the &lt;<u title="in no reference">red</u></mark>&gt;' in html
    assert '<u title="in no reference">don\u2019t</u>' in html
    assert marked("?!", [], []) == "?!"
