"""Sentences of the demo's world: one for each event, each relying on what the earlier ones said.

The first mention is "a small red star". Later ones say "it" when the sentence before was about the same shape, "the
other one" when two were met and the sentence before was about the other, "the star that was blue" once it changed
colour, else "the red star". A shape that hides is always named by colour and form: the clip shows neither.
"""

from __future__ import annotations

import numpy as np

from cootmart.demo.world import Event, Story, Thing

Choice = list[tuple[float, str]]

AGAIN: Choice = [(0.6, "again"), (0.2, "once more"), (0.1, "one more time"), (0.1, "a second time")]
SIZE_WORDS: dict[str, Choice] = {
    "small": [(0.6, "small"), (0.2, "little"), (0.2, "")],
    "large": [(0.6, "large"), (0.2, "big"), (0.2, "")],
}
OPENERS: Choice = [(0.84, ""), (0.08, "then "), (0.04, "next "), (0.04, "now ")]
LAST_OPENERS: Choice = [(0.7, ""), (0.15, "finally "), (0.1, "at last "), (0.05, "in the end ")]

# {x} the shape, {old} {new} its colours, {side} left or right, {them} two shapes, {prop} bowl or wall, {p} singular s
PHRASES: dict[str, Choice] = {
    "enter": [
        (0.5, "{x} enter{p} from the {side}"),
        (0.2, "{x} come{p} in from the {side}"),
        (0.15, "{x} slide{p} into view from the {side} side"),
        (0.15, "from the {side} {x} arrive{p} on the stage"),
    ],
    "return": [
        (0.5, "the same {colour} {shape} come{p} back from the {side}"),
        (0.3, "{x} return{p} from the {side}"),
        (0.2, "from the {side} the {colour} {shape} we know return{p}"),
    ],
    "leave": [
        (0.5, "{x} leave{p} to the {side}"),
        (0.3, "{x} go{es} away to the {side}"),
        (0.2, "{x} exit{p} on the {side} side"),
    ],
    "slide": [
        (0.6, "{x} slide{p} to the {side}"),
        (0.25, "{x} move{p} {side}"),
        (0.15, "{x} glide{p} across to the {side}"),
    ],
    "grow": [(0.6, "{x} grow{p}"), (0.25, "{x} get{p} bigger"), (0.15, "{x} become{p} larger than before")],
    "shrink": [(0.6, "{x} shrink{p}"), (0.25, "{x} get{p} smaller"), (0.15, "{x} become{p} smaller than before")],
    "spin": [(0.6, "{x} spin{p} around"), (0.25, "{x} rotate{p} on the spot"), (0.15, "{x} turn{p} in a full circuit")],
    "hop": [(0.6, "{x} hop{p} up and down"), (0.25, "{x} jump{p} twice"), (0.15, "{x} bounce{p} on the floor")],
    "recolour": [
        (0.5, "the {old} {shape} turns {new}"),
        (0.25, "the {shape} changes its colour from {old} to {new}"),
        (0.25, "the {old} {shape} becomes {new}"),
    ],
    "split": [
        (0.5, "{x} splits into two small {shapes}"),
        (0.3, "{x} breaks in two"),
        (0.2, "{x} falls apart into two equal pieces"),
    ],
    "swap": [
        (0.5, "{them} swap places"),
        (0.3, "{them} change sides"),
        (0.2, "{them} trade their positions"),
    ],
    "both": [
        (0.5, "{them} hop up and down together"),
        (0.3, "both shapes jump at the same time"),
        (0.2, "{them} bounce side by side"),
    ],
    "hide bowl": [(0.5, "{x} drop{p} into the bowl"), (0.3, "{x} hide{p} in the bowl"), (0.2, "the bowl swallows {x}")],
    "hide wall": [
        (0.5, "{x} hide{p} behind the wall"),
        (0.3, "{x} disappear{p} behind the wall"),
        (0.2, "{x} slip{p} out of sight behind the wall"),
    ],
    "emerge bowl": [
        (0.5, "{x} come{p} out of the bowl"),
        (0.3, "{x} pop{p} out of the bowl"),
        (0.2, "out of the bowl leap{p} {x}"),
    ],
    "emerge wall": [
        (0.5, "{x} come{p} out from behind the wall"),
        (0.3, "{x} appear{p} from behind the wall"),
        (0.2, "the wall lets {x} out"),
    ],
    "tremble": [(0.6, "{hiding} trembles"), (0.25, "{hiding} shakes"), (0.15, "{hiding} wobbles on its place")],
    "prop_hop": [
        (0.6, "{hiding} hops up and down"),
        (0.25, "{hiding} jumps twice"),
        (0.15, "{hiding} leaps off the floor"),
    ],
    "prop_slide": [
        (0.6, "{hiding} moves to the {side}"),
        (0.25, "{hiding} slides {side}"),
        (0.15, "{hiding} travels across to the {side}"),
    ],
}
HIDING: dict[str, Choice] = {
    "bowl": [
        (0.6, "the bowl holding the {colour} {shape}"),
        (0.2, "the bowl with the {colour} {shape} inside"),
        (0.2, "the bowl that contains the {colour} {shape}"),
    ],
    "wall": [
        (0.6, "the wall hiding the {colour} {shape}"),
        (0.2, "the wall with the {colour} {shape} behind it"),
        (0.2, "the wall that covers the {colour} {shape}"),
    ],
}


def tell(story: Story, rng: np.random.Generator) -> list[str]:
    """One sentence for each event of ``story``, capitalised, with a full stop; ``rng`` draws the wording."""
    sentences = []
    for index, event in enumerate(story.events):
        previous = story.events[index - 1] if index else None
        text = _opener(index, len(story.events), rng) + _clause(event, previous, rng)
        if event.again:
            text += " " + _pick(AGAIN, rng)
        sentences.append(text[0].upper() + text[1:] + ".")
    return sentences


def _opener(index: int, count: int, rng: np.random.Generator) -> str:
    if index == 0:
        return ""
    return _pick(LAST_OPENERS if index == count - 1 else OPENERS, rng)


def _pick(choice: Choice, rng: np.random.Generator) -> str:
    weights = np.array([weight for weight, _ in choice])
    return choice[rng.choice(len(choice), p=weights / weights.sum())][1]


def _clause(event: Event, previous: Event | None, rng: np.random.Generator) -> str:
    thing = event.was() or event.now()
    key = f"{event.kind} {event.before.prop}" if event.kind in ("hide", "emerge") else event.kind
    mention, plural = _mention(event, thing, previous, rng)
    hiding = _pick(HIDING[event.before.prop], rng).format(**_named(thing))
    return _pick(PHRASES[key], rng).format(
        **{"x": mention, "hiding": hiding, "them": _pair(event, rng), "side": _side(event)},
        **{"old": thing.colour, "new": event.now().colour, "p": "" if plural else "s", "es": "" if plural else "es"},
        **_named(thing),
    )


def _named(thing: Thing) -> dict[str, str]:
    return {
        "colour": thing.colour,
        "shapes": _plural(thing.shape),
        "shape": _plural(thing.shape) if thing.count == 2 else thing.shape,
    }


def _plural(shape: str) -> str:
    return shape + ("es" if shape.endswith("s") else "s")


def _mention(event: Event, thing: Thing, previous: Event | None, rng: np.random.Generator) -> tuple[str, bool]:
    """How this sentence calls its shape, and whether that is a plural."""
    if event.kind == "enter":
        words = (_pick(SIZE_WORDS[thing.size], rng), thing.colour, thing.shape)
        return _with_article(" ".join(word for word in words if word)), False
    plural = thing.count == 2
    draw = rng.random()
    if previous and previous.names == event.names and not previous.of_hidden and draw < _pronoun_rate(event):
        return ("they" if plural else "it"), plural
    other = previous and len(previous.names) == 1 and previous.names != event.names
    if other and event.kind not in ("hide", "return", "emerge") and not plural and draw < 0.4:
        return "the other one", False
    if thing.was and draw > 0.6:
        return f"the {_named(thing)['shape']} that {'were' if plural else 'was'} {thing.was}", plural
    article = "the two" if plural else "the"
    return f"{article} {thing.colour} {_named(thing)['shape']}", plural


def _pronoun_rate(event: Event) -> float:
    """What is about to hide is mostly named: its last chance to be seen."""
    return 0.15 if event.kind == "hide" else 0.4


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pair(event: Event, rng: np.random.Generator) -> str:
    if len(event.names) < 2:
        return ""
    one, two = event.was(0), event.was(1)
    named = f"the {one.colour} {_named(one)['shape']} and the {two.colour} {_named(two)['shape']}"
    return _pick([(0.75, named), (0.25, "the two shapes")], rng)


def _side(event: Event) -> str:
    """Left or right: of the picture for those who come and go, of where it was for those who move."""
    if event.kind == "slide":
        return "right" if event.now().slot > event.was().slot else "left"
    if event.kind == "prop_slide":
        return "right" if event.after.prop_slot > event.before.prop_slot else "left"
    return event.side
