"""The demo's world: what must hold in every story, in every picture and in every telling."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cootmart.demo.dataset import Item, paragraphs_of, story_of
from cootmart.demo.language import tell
from cootmart.demo.probes import named_colours, named_shapes, says_again
from cootmart.demo.render import FPS, REACH, REST, frames, picture, segments, signed_distance, write_video
from cootmart.demo.world import COLOURS, KINDS, SHAPES, Event, Scene, Story
from encoder.features.video import read_frames

STORIES = [story_of(Item("test", number), 0) for number in range(200)]
EVENTS = [event for story in STORIES for event in story.events]
TOLD = [paragraphs_of(Item("test", number), 0) for number in range(200)]
OTHER_COLOUR = dict(zip(COLOURS, (*COLOURS[3:], *COLOURS[:3]), strict=True))
OTHER_SHAPE = dict(zip(SHAPES, (*SHAPES[1:], SHAPES[0]), strict=True))


def disguised(story: Story) -> Story:
    """The same story, every shape of another form and colour."""

    def scene(old: Scene) -> Scene:
        changed = [replace(t, colour=OTHER_COLOUR[t.colour], shape=OTHER_SHAPE[t.shape]) for t in old.things]
        return old.having(*changed)

    return replace(story, events=tuple(replace(e, before=scene(e.before), after=scene(e.after)) for e in story.events))


def alone_hidden(event: Event) -> bool:
    return event.of_hidden and not event.before.on_stage


def test_every_story_hangs_together() -> None:
    for story in STORIES:
        assert 3 <= len(story.events) <= 6
        assert all(8 <= event.n_frames <= 12 for event in story.events)
        for one, two in pairwise(story.events):
            assert one.after == two.before


def test_no_two_things_stand_in_one_place_or_share_a_name() -> None:
    for event in EVENTS:
        stage = event.after.on_stage
        slots = [thing.slot for thing in stage] + [event.after.prop_slot]
        assert len(set(slots)) == len(slots)
        assert len({thing.shape for thing in event.after.things}) == len(event.after.things)
        assert len({thing.colour for thing in event.after.things}) == len(event.after.things)
        assert sum(thing.where == "hidden" for thing in event.after.things) <= 1


def test_every_kind_of_event_happens() -> None:
    assert {event.kind for event in EVENTS} == set(KINDS)


def test_what_hides_was_seen_in_an_earlier_clip() -> None:
    for story in STORIES:
        for index, event in enumerate(story.events):
            if event.of_hidden:
                hide = next(e for e in reversed(story.events[:index]) if e.kind == "hide")
                assert hide.names == event.names
                shown = [sprite.shape for k in range(3) for sprite in picture(hide, k).sprites]
                assert event.now().shape in shown


def test_a_hidden_shape_is_not_drawn() -> None:
    """Neither while something happens to it, nor in the still frames before."""
    for event in EVENTS:
        if event.of_hidden:
            drawn = {sprite.shape for k in range(event.n_frames) for sprite in picture(event, k).sprites}
            assert event.now().shape not in drawn
        if event.kind == "hide":
            assert event.now().shape not in {s.shape for s in picture(event, event.n_frames - 1).sprites}


def test_pictures_of_a_hidden_shape_are_the_same_whatever_hides() -> None:
    checked = 0
    for story in STORIES[:40]:
        pairs = zip(frames(story), frames(disguised(story)), strict=True)
        pictures = [np.array_equal(one, two) for (one, _), (two, _) in pairs]
        for event, (start, stop) in zip(story.events, segments(story), strict=True):
            if alone_hidden(event):
                checked += 1
                assert all(pictures[round(start * FPS) : round(stop * FPS)])
    assert checked > 10


def test_decoded_files_do_not_tell_either(tmp_path: Path) -> None:
    checked = 0
    for story in STORIES[:12]:
        write_video(story, tmp_path / "one.mp4")
        write_video(disguised(story), tmp_path / "two.mp4")
        one, two = ([frame for _, frame in read_frames(tmp_path / f"{n}.mp4", FPS)] for n in ("one", "two"))
        for event, (start, stop) in zip(story.events, segments(story), strict=True):
            if alone_hidden(event):
                checked += 1
                for k in range(round(start * FPS), round(stop * FPS)):
                    assert np.array_equal(one[k], two[k])
    assert checked > 5


def test_an_animation_starts_and_ends_in_its_scenes() -> None:
    """The last frame of an event is the first of the next, but for a shape about to enter."""
    for story in STORIES:
        for one, two in pairwise(story.events):
            last, first = picture(one, one.n_frames - 1), picture(two, 0)
            assert (last.prop_x, last.prop_y) == pytest.approx((first.prop_x, first.prop_y))
            assert _seen(last) == _seen(first)


def _seen(shown) -> list[tuple]:
    inside = [s for s in shown.sprites if -s.radius < s.x < 96 + s.radius]
    return sorted((s.shape, s.rgb, round(s.x, 3), round(s.y, 3), round(s.radius, 3)) for s in inside)


def test_segments_leave_the_rest_between_events() -> None:
    for story in STORIES[:20]:
        spans = segments(story)
        assert all(b[0] - a[1] == REST / FPS for a, b in pairwise(spans))
        assert round(spans[-1][1] * FPS) + REST == sum(1 for _ in frames(story))


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_keep_within_their_reach_and_differ(shape: str) -> None:
    y, x = np.mgrid[-30:31, -30:31] * 1.0
    inside = signed_distance(shape, x, y, 15.0) < 0
    assert inside.sum() > 250
    assert np.hypot(x, y)[inside].max() <= REACH * 15.0
    for other in set(SHAPES) - {shape}:
        assert (inside ^ (signed_distance(other, x, y, 15.0) < 0)).sum() > 100


def test_one_sentence_an_event_and_three_different_tellings() -> None:
    for story, told in zip(STORIES, TOLD, strict=True):
        assert [len(sentences) for sentences in told] == [len(story.events)] * 3
        assert len({" ".join(sentences) for sentences in told}) == 3
        assert all(s[0].isupper() and s.endswith(".") and s.count(".") == 1 for t in told for s in t)


def test_enough_sentences_need_memory() -> None:
    assert sum(event.of_hidden for event in EVENTS) >= 200
    assert sum(event.again for event in EVENTS) >= 60


def test_vocabulary() -> None:
    words = {w for n in range(200) for s in paragraphs_of(Item("train", n), 0)[0] for w in s.lower()[:-1].split()}
    assert len(words) >= 120
    text = " ".join(s for told in TOLD for sentences in told for s in sentences).lower()
    for expected in (" it ", " that was ", "the same ", " again", "the other one", "finally", " two "):
        assert expected in text


def test_a_hidden_shape_is_always_named_and_again_is_said_exactly_when_due() -> None:
    for story, told in zip(STORIES, TOLD, strict=True):
        for index, event in enumerate(story.events):
            for sentences in told:
                assert says_again(sentences[index]) == event.again
                if event.of_hidden:
                    assert named_colours(sentences[index]) == {event.now().colour}
                    assert named_shapes(sentences[index]) == {event.now().shape}


def test_it_means_the_shape_of_the_sentence_before() -> None:
    for story, told in zip(STORIES, TOLD, strict=True):
        for sentences in told:
            for index, sentence in enumerate(sentences):
                if set(sentence.lower()[:-1].split()[:2]) & {"it", "they"}:
                    assert index > 0
                    assert story.events[index].names == story.events[index - 1].names


def test_the_same_generator_tells_the_same() -> None:
    one, two = (tell(STORIES[0], np.random.default_rng(3)) for _ in range(2))
    assert one == two
    assert one != tell(STORIES[0], np.random.default_rng(4))
