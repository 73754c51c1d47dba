"""The little world of the demo: shapes on a stage with one prop, and the events that happen to them.

A story is a chain of scenes joined by events. Nothing here knows how a scene looks (`render`) or how an event is
told (`language`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
ROUND = ("circle", "ring")
"""shapes whose spin nobody would see"""
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "large")
PROPS = ("bowl", "wall")
SLOTS = (0, 1, 2)
"""places on the stage, from left to right"""

PROP_KINDS = ("tremble", "prop_hop", "prop_slide")
"""events of the prop while it hides a shape: what hides there is known only from an earlier clip"""
KINDS = (
    *("enter", "return", "leave", "slide", "grow", "shrink", "spin", "hop", "recolour", "split"),
    *("swap", "both", "hide", "emerge"),
    *PROP_KINDS,
)

WEIGHTS = {
    **{"enter": 1.0, "return": 8.0, "leave": 1.8, "slide": 1.0, "grow": 1.2, "shrink": 1.2, "spin": 1.2},
    **{"hop": 1.0, "recolour": 1.0, "split": 0.6, "swap": 7.0, "both": 5.0, "hide": 5.0, "emerge": 3.5},
    **{"tremble": 6.5, "prop_hop": 5.5, "prop_slide": 5.5},
}
REPEAT = 2.0
"""how much likelier an event becomes once it has happened, so that there is something to tell "again" of"""


@dataclass(frozen=True)
class Thing:
    """A coloured shape; ``count`` 2 after it split into two halves that stay together."""

    name: int
    shape: str
    colour: str
    size: str
    slot: int | None = None
    where: str = "away"
    """``stage``, ``hidden`` (in or behind the prop) or ``away``"""
    was: str | None = None
    """colour before the last change"""
    count: int = 1


@dataclass(frozen=True)
class Scene:
    """What is where between two events."""

    prop: str
    prop_slot: int
    things: tuple[Thing, ...] = ()

    @property
    def hidden(self) -> Thing | None:
        """The shape in or behind the prop."""
        return next((thing for thing in self.things if thing.where == "hidden"), None)

    @property
    def on_stage(self) -> list[Thing]:
        """The shapes that can be seen."""
        return [thing for thing in self.things if thing.where == "stage"]

    @property
    def free(self) -> list[int]:
        """Slots where neither prop nor shape stands."""
        taken = {self.prop_slot, *(thing.slot for thing in self.on_stage)}
        return [slot for slot in SLOTS if slot not in taken]

    def having(self, *changed: Thing) -> Scene:
        """This scene with the things of the same name replaced, or added."""
        names = {thing.name for thing in changed}
        kept = [thing for thing in self.things if thing.name not in names]
        return replace(self, things=tuple(sorted((*kept, *changed), key=lambda thing: thing.name)))


@dataclass(frozen=True)
class Event:
    """One event: a scene before, a scene after, and the names of the shapes it is about."""

    kind: str
    before: Scene
    after: Scene
    names: tuple[int, ...]
    side: str = "left"
    """where a shape enters or leaves"""
    again: bool = False
    """the same kind of event happened to the same shapes earlier in this story"""
    n_frames: int = 10

    def was(self, index: int = 0) -> Thing | None:
        """Subject ``index`` before the event; None when it enters for the first time."""
        return next((thing for thing in self.before.things if thing.name == self.names[index]), None)

    def now(self, index: int = 0) -> Thing:
        """Subject ``index`` after the event."""
        return next(thing for thing in self.after.things if thing.name == self.names[index])

    @property
    def of_hidden(self) -> bool:
        """The shape it is about cannot be seen at any moment of the event."""
        return self.kind in PROP_KINDS


@dataclass(frozen=True)
class Story:
    """The events of one video; ``look`` seeds what carries no meaning (background, tints, jitter)."""

    events: tuple[Event, ...]
    look: int


def make_story(rng: np.random.Generator) -> Story:
    """Draw a story of 3-6 events, each of 8-12 frames."""
    scene = Scene(str(rng.choice(PROPS)), int(rng.choice(SLOTS)))
    events: list[Event] = []
    for _ in range(rng.integers(3, 7)):
        event = _next_event(scene, events, rng)
        events.append(event)
        scene = event.after
    return Story(tuple(events), int(rng.integers(2**31)))


def _next_event(scene: Scene, past: list[Event], rng: np.random.Generator) -> Event:
    happened = {(event.kind, event.names) for event in past}
    options = list(_possible(scene, rng))
    if len(options) > 1 and past and past[-1].kind in ("hide", "enter"):  # neither undone at once
        options = [option for option in options if option.kind not in ("emerge", "leave")]
    weights = np.array([_weight(option, happened) for option in options])
    event = options[rng.choice(len(options), p=weights / weights.sum())]
    again = (event.kind, event.names) in happened
    return replace(event, again=again, n_frames=int(rng.integers(8, 13)))


def _weight(event: Event, happened: set[tuple[str, tuple[int, ...]]]) -> float:
    return WEIGHTS[event.kind] * (REPEAT if (event.kind, event.names) in happened else 1.0)


def _possible(scene: Scene, rng: np.random.Generator) -> Iterator[Event]:
    """Every event that can happen now, its free choices (slot, side, colour) already drawn."""
    if len(scene.things) < 2 and scene.free:
        new = _new_thing(scene, rng)
        yield _arrive("enter", scene, new, rng)
    for thing in scene.things:
        if thing.where == "away" and scene.free:
            yield _arrive("return", scene, thing, rng)
    for thing in scene.on_stage:
        yield from _alone(scene, thing, rng)
    if scene.hidden:
        yield from _with_hidden(scene, scene.hidden, rng)
    if len(scene.on_stage) == 2:
        yield from _together(scene, *scene.on_stage)


def _new_thing(scene: Scene, rng: np.random.Generator) -> Thing:
    """A shape that shares neither colour nor form with those already met: names stay unambiguous."""
    met = scene.things
    colours = [colour for colour in COLOURS if all(colour not in (t.colour, t.was) for t in met)]
    shapes = [shape for shape in SHAPES if all(shape != t.shape for t in met)]
    return Thing(len(met), str(rng.choice(shapes)), str(rng.choice(colours)), str(rng.choice(SIZES)))


def _arrive(kind: str, scene: Scene, thing: Thing, rng: np.random.Generator) -> Event:
    there = replace(thing, where="stage", slot=int(rng.choice(scene.free)))
    return Event(kind, scene, scene.having(there), (thing.name,), str(rng.choice(["left", "right"])))


def _alone(scene: Scene, thing: Thing, rng: np.random.Generator) -> Iterator[Event]:
    def event(kind: str, side: str = "left", **change: object) -> Event:
        return Event(kind, scene, scene.having(replace(thing, **change)), (thing.name,), side)

    yield event("leave", str(rng.choice(["left", "right"])), where="away", slot=None)
    yield event("hop")
    if thing.shape not in ROUND:
        yield event("spin")
    if thing.count == 2:
        return
    if scene.free:
        yield event("slide", slot=int(rng.choice(scene.free)))
    yield event("recolour", colour=_other_colour(scene, rng), was=thing.colour)
    if thing.size == "small":
        yield event("grow", size="large")
    else:
        yield event("shrink", size="small")
        yield event("split", size="small", count=2)
    if not scene.hidden:
        yield event("hide", where="hidden", slot=None)


def _other_colour(scene: Scene, rng: np.random.Generator) -> str:
    seen = {colour for thing in scene.things for colour in (thing.colour, thing.was)}
    return str(rng.choice([colour for colour in COLOURS if colour not in seen]))


def _with_hidden(scene: Scene, thing: Thing, rng: np.random.Generator) -> Iterator[Event]:
    names = (thing.name,)
    yield Event("tremble", scene, scene, names)
    yield Event("prop_hop", scene, scene, names)
    if scene.free:
        slot = int(rng.choice(scene.free))
        yield Event("prop_slide", scene, replace(scene, prop_slot=slot), names)
        yield Event("emerge", scene, scene.having(replace(thing, where="stage", slot=slot)), names)


def _together(scene: Scene, one: Thing, two: Thing) -> Iterator[Event]:
    names = (one.name, two.name)
    yield Event("both", scene, scene, names)
    if one.count == two.count == 1:
        swapped = scene.having(replace(one, slot=two.slot), replace(two, slot=one.slot))
        yield Event("swap", scene, swapped, names)
