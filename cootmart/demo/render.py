"""Pictures of the demo's world: anti-aliased shapes on a 96 x 96 stage, and the H.264 file of a story."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cootmart.demo.world import Event, Scene, Story, Thing

SIDE = 96
"""pixels, width and height"""
FPS = 4
REST = 2
"""still frames after each event: a clip that is cut a frame or two late shows nothing of the next event"""

SLOT_X = (17.0, 48.0, 79.0)
FLOOR = 78.0
RADIUS = {"small": 9.5, "large": 15.0}
REACH = 1.25
"""no shape leaves the square of this many radii around its centre"""
PROP_TOP = {"bowl": 42.0, "wall": 30.0}
RGB = {
    **{"red": (215, 30, 35), "orange": (245, 135, 20), "yellow": (240, 225, 40), "green": (40, 165, 50)},
    **{"cyan": (40, 205, 215), "blue": (35, 75, 215), "purple": (125, 40, 175), "pink": (245, 120, 190)},
}
# No macroblock tree: its vector code reads memory that nobody wrote, so that the bytes would differ now and then.
X264 = {
    "preset": "veryfast",
    "qp": "22",
    "forced-idr": "1",
    "x264-params": "threads=1:lookahead-threads=1:rc-lookahead=0:mbtree=0:bframes=0:"
    "keyint=250:scenecut=0:log-level=error",
}


@dataclass(frozen=True)
class Sprite:
    """One shape to draw; ``behind`` the prop or in front of it. Pixels and radians."""

    shape: str
    rgb: tuple[float, float, float]
    x: float
    y: float
    radius: float
    angle: float = 0.0
    behind: bool = False


@dataclass(frozen=True)
class Picture:
    """All there is to draw in one frame."""

    prop: str
    prop_x: float
    prop_y: float
    """shift of the prop from where it stands, pixels downwards"""
    sprites: tuple[Sprite, ...]


def write_video(story: Story, path: str | Path) -> None:
    """Render ``story`` into an MP4 file of 96 x 96 pixels at 4 frames a second.

    Every event opens with a key frame, so that no remains of earlier pictures, which a predicting coder would
    carry on, give away what is hidden. One coder thread: the same story always gives the same bytes.
    """
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=X264)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for index, (pixels, opens) in enumerate(frames(story)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            frame.pict_type = av.video.frame.PictureType.I if opens else av.video.frame.PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def segments(story: Story) -> list[tuple[float, float]]:
    """Start and stop of every event, in seconds; the rest after it is outside."""
    spans, start = [], 0
    for event in story.events:
        spans.append((start / FPS, (start + event.n_frames) / FPS))
        start += event.n_frames + REST
    return spans


def frames(story: Story) -> Iterator[tuple[np.ndarray, bool]]:
    """Every frame, uint8 RGB (96, 96, 3), and whether it opens an event."""
    look = np.random.default_rng(story.look)
    background = _background(look)
    tints = {name: look.uniform(-12, 12, 3) for name in range(2)}
    for event in story.events:
        for k in range(event.n_frames + REST):
            yield draw(picture(event, min(k, event.n_frames - 1), tints), background), k == 0


def picture(event: Event, k: int, tints: dict[int, np.ndarray] | None = None) -> Picture:
    """What frame ``k`` of an event shows; ``tints`` shifts the colour of each thing a little."""
    phase = k / (event.n_frames - 1)
    still = [sprite for thing in event.before.on_stage if thing.name not in event.names for sprite in _still(thing)]
    moving = [] if event.of_hidden else ANIMATIONS[event.kind](event, _ease(phase))
    sprites = [(thing_sprite, name) for name, thing_sprite in (*still, *moving)]
    shown = tuple(replace(s, rgb=_tinted(s.rgb, tints, name)) for s, name in sprites)
    x, y = _prop_place(event, k, phase)
    return Picture(event.before.prop, x, y, shown)


def _tinted(rgb: tuple, tints: dict[int, np.ndarray] | None, name: int) -> tuple:
    return rgb if tints is None else tuple(np.clip(np.add(rgb, tints[name]), 0, 255))


def _ease(phase: float) -> float:
    """Start and stop gently."""
    return phase * phase * (3 - 2 * phase)


def _prop_place(event: Event, k: int, phase: float) -> tuple[float, float]:
    x = SLOT_X[event.before.prop_slot]
    if event.kind == "tremble":
        inside = 0 < k < event.n_frames - 1
        return x + (3.0 if k % 2 else -3.0) * inside, 0.0
    if event.kind == "prop_hop":
        return x, -14.0 * abs(np.sin(2 * np.pi * phase))
    return x + (SLOT_X[event.after.prop_slot] - x) * _ease(phase), 0.0


# Every animation maps (event, eased phase 0..1) to named sprites; at 0 it shows the scene before, at 1 the one after.

Named = tuple[int, Sprite]


def _still(thing: Thing, **change: float) -> list[Named]:
    """A thing at its slot: one sprite, or two for halves; ``change`` moves them (dx, dy) or turns them."""
    radius = change.get("radius", RADIUS[thing.size])
    x, y = SLOT_X[thing.slot or 0] + change.get("dx", 0.0), FLOOR - radius + change.get("dy", 0.0)
    spread = change.get("spread", 9.5 if thing.count == 2 else 0.0)
    sprite = Sprite(thing.shape, RGB[thing.colour], x, y, radius, change.get("angle", 0.0))
    halves = (-spread, spread) if thing.count == 2 else (0.0,)
    return [(thing.name, replace(sprite, x=x + shift)) for shift in halves]


def _arriving(event: Event, p: float) -> list[Named]:
    thing = event.now()
    outside = -SIDE / 4 if event.side == "left" else SIDE * 5 / 4
    return _still(thing, dx=(outside - SLOT_X[thing.slot]) * (1 - p))


def _leaving(event: Event, p: float) -> list[Named]:
    thing = event.was()
    outside = -SIDE / 4 if event.side == "left" else SIDE * 5 / 4
    return _still(thing, dx=(outside - SLOT_X[thing.slot]) * p)


def _slide(event: Event, p: float) -> list[Named]:
    start = event.was()
    return _still(start, dx=(SLOT_X[event.now().slot] - SLOT_X[start.slot]) * p)


def _resize(event: Event, p: float) -> list[Named]:
    start, stop = RADIUS[event.was().size], RADIUS[event.now().size]
    return _still(event.was(), radius=start + (stop - start) * p)


def _spin(event: Event, p: float) -> list[Named]:
    return _still(event.was(), angle=2 * np.pi * p)


def _hop(event: Event, p: float) -> list[Named]:
    return _still(event.was(), dy=-22.0 * abs(np.sin(2 * np.pi * p)))


def _recolour(event: Event, p: float) -> list[Named]:
    mix = float(np.clip((p - 0.35) / 0.3, 0, 1))
    old, new = np.array(RGB[event.was().colour]), np.array(RGB[event.now().colour])
    return [(name, replace(s, rgb=tuple(old + (new - old) * mix))) for name, s in _still(event.was())]


def _split(event: Event, p: float) -> list[Named]:
    if p < 0.3:
        return _still(event.was())
    opened = (p - 0.3) / 0.7
    return _still(event.now(), spread=3.0 + 6.5 * opened, dy=-10.0 * np.sin(np.pi * opened))


def _swap(event: Event, p: float) -> list[Named]:
    one, two = event.was(0), event.was(1)
    way = (SLOT_X[two.slot] - SLOT_X[one.slot]) * p
    return [*_still(two, dx=-way), *_still(one, dx=way, dy=-32.0 * np.sin(np.pi * p))]


def _both(event: Event, p: float) -> list[Named]:
    dy = -22.0 * abs(np.sin(2 * np.pi * p))
    return [*_still(event.was(0), dy=dy), *_still(event.was(1), dy=dy)]


def _hide(event: Event, p: float) -> list[Named]:
    return _to_prop(event.was(), event.before, p)


def _emerge(event: Event, p: float) -> list[Named]:
    return _to_prop(event.now(), event.before, 1 - p)


def _to_prop(thing: Thing, scene: Scene, p: float) -> list[Named]:
    """In the open until 0.2, then to the prop, and from 0.85 on not drawn at all."""
    if p >= 0.85:
        return []
    radius = RADIUS[thing.size]
    way = SLOT_X[scene.prop_slot] - SLOT_X[thing.slot]
    if scene.prop == "wall":
        moved = np.clip((p - 0.2) / 0.65, 0, 1)
        return _behind(_still(thing, dx=way * moved))
    over = PROP_TOP["bowl"] - FLOOR - 2.0
    moved, fallen = np.clip((p - 0.2) / 0.35, 0, 1), np.clip((p - 0.55) / 0.3, 0, 1)
    dy = over * np.sin(np.pi / 2 * moved) + (radius * 2 + 6.0) * fallen
    return _behind(_still(thing, dx=way * moved, dy=dy))


def _behind(sprites: list[Named]) -> list[Named]:
    return [(name, replace(sprite, behind=True)) for name, sprite in sprites]


ANIMATIONS = {
    **{"enter": _arriving, "return": _arriving, "leave": _leaving, "slide": _slide, "grow": _resize},
    **{"shrink": _resize, "spin": _spin, "hop": _hop, "recolour": _recolour, "split": _split},
    **{"swap": _swap, "both": _both, "hide": _hide, "emerge": _emerge},
}


def draw(picture: Picture, background: np.ndarray) -> np.ndarray:
    """Paint a picture over a float32 background (96, 96, 3) -> uint8 RGB of the same shape."""
    canvas = background.copy()
    for sprite in picture.sprites:
        if sprite.behind:
            _paint(canvas, sprite)
    _paint_prop(canvas, picture.prop, picture.prop_x, picture.prop_y)
    for sprite in picture.sprites:
        if not sprite.behind:
            _paint(canvas, sprite)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def _background(look: np.random.Generator) -> np.ndarray:
    """A pale grey wall over a darker floor, a gradient and some grain."""
    wall, floor = look.uniform(200, 240), look.uniform(150, 185)
    canvas = np.where(np.arange(SIDE)[:, None, None] < FLOOR, wall, floor) + np.zeros((SIDE, SIDE, 3))
    canvas += look.uniform(-0.15, 0.15) * (np.arange(SIDE)[None, :, None] - SIDE / 2) + look.uniform(-5, 5, 3)
    return (canvas + look.normal(0, 1.5, (SIDE, SIDE, 1))).astype(np.float32)


def _paint(canvas: np.ndarray, sprite: Sprite) -> None:
    reach = sprite.radius * REACH + 1
    window = _window(sprite.x - reach, sprite.y - reach, sprite.x + reach, sprite.y + reach)
    if window is None:
        return
    rows, columns, x, y = window
    x, y = x - sprite.x, y - sprite.y
    cos, sin = np.cos(sprite.angle), np.sin(sprite.angle)
    inside = signed_distance(sprite.shape, cos * x + sin * y, cos * y - sin * x, sprite.radius)
    _blend(canvas[rows, columns], np.clip(0.5 - inside, 0, 1), sprite.rgb)


def _paint_prop(canvas: np.ndarray, prop: str, x: float, dy: float) -> None:
    """A dark bowl (straight rim, rounded below) or a wall with courses of brick, both grey."""
    top, bottom = PROP_TOP[prop] + dy, FLOOR + dy
    rows, columns, xs, ys = _window(x - 19, top - 1, x + 19, bottom + 1)
    if prop == "wall":
        outline = np.maximum(np.abs(xs - x) - 17.0, np.abs(ys - (top + bottom) / 2) - (bottom - top) / 2)
        joint = np.abs((ys - bottom) % 8 - 4) > 3.2
        grey = np.where(joint, 95.0, 125.0)[..., None]
    else:
        depth = np.clip((ys - top) / (bottom - top), 0, None)
        outline = np.maximum(np.abs(xs - x) - 18.0 * np.clip(1 - depth**6, 0, 1) ** 0.25, top - ys)
        grey = np.where(ys - top < 3, 110.0, 65.0)[..., None] + 0 * xs[..., None]
    _blend(canvas[rows, columns], np.clip(0.5 - outline, 0, 1), grey)


def _window(left: float, top: float, right: float, bottom: float):
    """The pixels of a box as (rows, columns, x (1, w), y (h, 1)) at pixel centres; None when outside."""
    x0, x1 = max(int(left), 0), min(int(np.ceil(right)), SIDE)
    y0, y1 = max(int(top), 0), min(int(np.ceil(bottom)), SIDE)
    if x0 >= x1 or y0 >= y1:
        return None
    return slice(y0, y1), slice(x0, x1), np.arange(x0, x1)[None] + 0.5, np.arange(y0, y1)[:, None] + 0.5


def _blend(region: np.ndarray, alpha: np.ndarray, rgb: tuple | np.ndarray) -> None:
    region += alpha[..., None].astype(np.float32) * (np.asarray(rgb, np.float32) - region)


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray, r: float) -> np.ndarray:
    """About how far outside (> 0) or inside (< 0) ``shape`` of radius ``r`` each point lies; y grows downwards."""
    if shape == "circle":
        return np.hypot(x, y) - r
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.76 * r) - 0.27 * r
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.88 * r
    if shape == "cross":
        u, v = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(u - r, v - 0.34 * r), np.maximum(u - 0.34 * r, v - r))
    if shape == "triangle":
        y = y - 0.2 * r
        return np.maximum(y - 0.6 * r, (np.sqrt(3) * np.abs(x) - y) / 2 - 0.6 * r)
    return _star_distance(x, y, 1.18 * r, 0.5 * r)


def _star_distance(x: np.ndarray, y: np.ndarray, outer: float, inner: float) -> np.ndarray:
    """Fold the plane into one tenth of a five-pointed star; there its outline is one straight edge."""
    angle = np.arctan2(x, -y)
    fold = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    u, v = radius * np.cos(fold), radius * np.sin(fold)
    edge_u, edge_v = inner * np.cos(np.pi / 5) - outer, inner * np.sin(np.pi / 5)
    length = np.hypot(edge_u, edge_v)
    return ((u - outer) * edge_v - v * edge_u) / length
