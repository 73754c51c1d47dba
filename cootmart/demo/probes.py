"""What BLEU does not see: does a caption know what hides, and does it know that something happened before?

The truth comes with the data set (`probes.json`): for each held-out video, the sentences that are about a hidden
shape, with its colour and form, and for every sentence whether the event repeats an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cootmart.demo.world import COLOURS, SHAPES, Story
from training.errors import CootmartError
from training.files import read_json

AGAIN_WORDS = re.compile(r"\b(again|once more|(one more|a second|another) time|once again|repeatedly)\b")
FORMER_COLOUR = re.compile(rf"\b(was|were|used to be|formerly|once)( \w+)? ({'|'.join(COLOURS)})\b")
SYNONYMS = {"disc": "circle", "disk": "circle", "box": "square", "plus": "cross", "hoop": "ring"}

Sentences = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class HiddenAccuracy:
    """Shares in 0..1 of ``count`` sentences about a hidden shape that name its colour, its form, or both."""

    colour: float
    shape: float
    both: float
    count: int


@dataclass(frozen=True)
class AgainScore:
    """F1 in 0..1 of saying "again" where it is due: ``due`` sentences, ``said`` with the word, ``right`` in both."""

    f1: float
    precision: float
    recall: float
    due: int
    said: int
    right: int


def truth_of(story: Story) -> dict[str, Any]:
    """The entry of one video in `probes.json`."""
    hidden = []
    for index, event in enumerate(story.events):
        if event.of_hidden:
            thing = event.now()
            hidden.append({"sentence": index, "colour": thing.colour, "shape": thing.shape, "prop": event.before.prop})
    return {"hidden": hidden, "again": [event.again for event in story.events]}


def load_probes(folder: str | Path) -> dict[str, Any]:
    """``{video: {"hidden": [{"sentence", "colour", "shape", "prop"}], "again": [bool, ...]}}`` of a data set folder."""
    return read_json(Path(folder) / "probes.json")


def hidden_accuracy(sentences: Sentences, probes: Mapping[str, Any]) -> HiddenAccuracy:
    """Of the sentences of events that happen to a hidden shape, how many name it rightly.

    Sentence ``i`` of a video is held against event ``i``. It names the colour rightly if, after phrases on a former
    colour ("that was blue") are left out, the one colour word in it is the hidden shape's; the same for the form,
    singular or plural. None or several different words count as wrong, and so does a missing sentence.
    Chance is 1/8 for the colour and 1/6 for the form.

    Args:
        sentences: ``{video: [sentence of event 0, sentence of event 1, ...]}``; any part of the probed videos.
        probes: as `load_probes` gives them.

    Raises:
        CootmartError: a video has no probes.
    """
    colour = shape = both = count = 0
    for video, said in sentences.items():
        for hidden in _entry(probes, video)["hidden"]:
            text = said[hidden["sentence"]] if hidden["sentence"] < len(said) else ""
            colours, shapes = named_colours(text), named_shapes(text)
            hits = colours == {hidden["colour"]}, shapes == {hidden["shape"]}
            colour, shape, both, count = colour + hits[0], shape + hits[1], both + all(hits), count + 1
    share = max(count, 1)
    return HiddenAccuracy(colour / share, shape / share, both / share, count)


def again_f1(sentences: Sentences, probes: Mapping[str, Any]) -> AgainScore:
    """F1 of the word "again", or one of its equivalents, over all sentences.

    It is due in sentence ``i`` if event ``i`` is of a kind that already happened to the same shape (or pair of
    shapes) in this video. Equivalents: "once more", "one more time", "a second time", "another time", "once again".

    Raises:
        CootmartError: a video has no probes.
    """
    due = said = right = 0
    for video, texts in sentences.items():
        for index, expected in enumerate(_entry(probes, video)["again"]):
            found = index < len(texts) and says_again(texts[index])
            due, said, right = due + expected, said + found, right + (expected and found)
    precision, recall = right / max(said, 1), right / max(due, 1)
    return AgainScore(2 * right / max(due + said, 1), precision, recall, due, said, right)


def says_again(sentence: str) -> bool:
    """Whether a sentence says that something happens not for the first time."""
    return bool(AGAIN_WORDS.search(" ".join(_words(sentence))))


def named_colours(sentence: str) -> set[str]:
    """The colours a sentence gives to things as they are now."""
    text = FORMER_COLOUR.sub(" ", " ".join(_words(sentence)))
    return set(text.split()) & set(COLOURS)


def named_shapes(sentence: str) -> set[str]:
    """The forms a sentence names; plurals and common synonyms count."""
    words = (SYNONYMS.get(word, word) for word in _words(sentence))
    return {shape for word in words for shape in SHAPES if word in (shape, f"{shape}s", f"{shape}es")}


def _words(sentence: str) -> list[str]:
    return re.findall(r"[a-z]+", sentence.lower())


def _entry(probes: Mapping[str, Any], video: str) -> Any:
    if video not in probes:
        known = ", ".join(sorted(probes)[:3])
        raise CootmartError(f"probes: no video {video!r}; probed are {len(probes)} videos such as {known}")
    return probes[video]
