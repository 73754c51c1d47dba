"""Hidden-object accuracy and "again" F1 on sentences whose scores are known."""

from __future__ import annotations

import pytest

from cootmart.demo.dataset import Item, paragraphs_of, story_of
from cootmart.demo.probes import again_f1, hidden_accuracy, named_colours, named_shapes, says_again, truth_of
from training.errors import CootmartError

PROBES = {
    "a": {
        "hidden": [{"sentence": 1, "colour": "green", "shape": "triangle", "prop": "wall"}],
        "again": [False, False, True],
    },
    "b": {"hidden": [{"sentence": 0, "colour": "red", "shape": "cross", "prop": "bowl"}], "again": [True]},
}


@pytest.mark.parametrize(
    ("sentence", "colour", "shape"),
    [
        ("The wall hiding the green triangle trembles.", 1, 1),
        ("the GREEN triangles, behind the wall, shake", 1, 1),
        ("behind the wall trembles a triangle, green, that was blue", 1, 1),
        ("the green triangle which used to be red", 1, 1),
        ("the wall hiding the red triangle trembles", 0, 1),
        ("the wall hiding the green or red star", 0, 0),
        ("the wall hiding the triangle that was green trembles", 0, 1),
        ("greenish triangular wall", 0, 0),
        ("", 0, 0),
    ],
)
def test_naming(sentence: str, colour: int, shape: int) -> None:
    found = hidden_accuracy({"a": ["The green triangle hides.", sentence]}, PROBES)
    assert (found.colour, found.shape, found.both, found.count) == (colour, shape, min(colour, shape), 1)


def test_the_right_name_in_another_sentence_does_not_count() -> None:
    found = hidden_accuracy({"a": ["the wall hiding the green triangle trembles", "it trembles"]}, PROBES)
    assert found.colour == found.shape == 0


def test_a_missing_sentence_is_wrong_and_counts() -> None:
    found = hidden_accuracy({"a": ["one"], "b": ["the bowl with the red cross"]}, PROBES)
    assert (found.colour, found.both, found.count) == (0.5, 0.5, 2)


def test_again() -> None:
    said = {"a": ["it hops again", "it spins", "it hops once more"], "b": ["it hops"]}
    found = again_f1(said, PROBES)
    assert (found.due, found.said, found.right) == (2, 2, 1)
    assert found.precision == found.recall == found.f1 == 0.5


def test_nothing_said_and_nothing_due() -> None:
    assert again_f1({}, PROBES).f1 == 0
    assert hidden_accuracy({}, PROBES).count == 0


def test_words() -> None:
    assert all(map(says_again, ("Again, it hops.", "it hops one more time", "it hops a second  time", "once again")))
    assert not any(map(says_again, ("it leans against the wall", "the second star", "more at the same time")))
    assert named_shapes("two crosses and a plus, a disc") == {"cross", "circle"}
    assert named_colours("the red star that was blue") == {"red"}


def test_an_unknown_video_is_named() -> None:
    for score in (hidden_accuracy, again_f1):
        with pytest.raises(CootmartError, match="no video 'zebra'"):
            score({"zebra": ["a"]}, PROBES)


def test_every_telling_is_perfect() -> None:
    items = [Item("val", number) for number in range(60)]
    probes = {item.key: truth_of(story_of(item, 3)) for item in items}
    for number in range(3):
        told = {item.key: paragraphs_of(item, 3)[number] for item in items}
        assert hidden_accuracy(told, probes).both == 1.0
        assert again_f1(told, probes).f1 == 1.0
