"""A light descriptor of a frame: edges, colours and where they are, and what changed; numpy only, no weights.

It knows nothing of any data set: orientation histograms (Dalal & Triggs 2005), a coarse colour grid, and for each of
twelve hues the moments of the pixels that have it (how many, where, how spread, how round, star- or square-like).
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from PIL import Image

SIDE = 96
"""frames of any other size are scaled to this square first"""
FRAMES_AT_ONCE = 64

CELLS = 4
ORIENTATIONS = 8
CHROMA_ORIENTATIONS = 24
HUES = 12
RINGS = (0.45, 0.8, 1.15, 1.5)
"""bounds between shares of a layer's mass, as distances from its centre in units of its rms radius"""
HARMONICS = (3, 4, 5)
GREYS = 8
GRID = 6

LUMA_EDGE = 0.08
"""luma step across two pixels, of 1, from which it is an edge"""
CHROMA_EDGE = 0.12
COLOURFUL = 0.22
"""largest minus smallest of R, G, B, of 1, from which a pixel has a hue"""
PRESENT = 30.0
"""pixels from which the moments of a hue count fully"""

N_MOMENTS = 4 + len(RINGS) + 1 + len(HARMONICS)
N_MOTIONS = 4

# name -> (number of values, gain that brings the block to about unit variance)
LAYOUT: dict[str, tuple[int, float]] = {
    "edges": (CELLS * CELLS * ORIENTATIONS, 12.0),
    "chroma_edges": (CHROMA_ORIENTATIONS, 9.0),
    "hues": (HUES * N_MOMENTS, 7.0),
    "greys": (GREYS, 5.0),
    "grid": (GRID * GRID * 3, 7.0),
    "motion": (HUES * N_MOTIONS, 12.0),
    "change": (GRID * GRID, 10.0),
}
_ENDS = list(accumulate(count for count, _ in LAYOUT.values()))
BLOCKS = {name: slice(end - LAYOUT[name][0], end) for name, end in zip(LAYOUT, _ENDS, strict=True)}
"""where each part lies in a descriptor"""
DIM = _ENDS[-1]


def describe(frames: np.ndarray) -> np.ndarray:
    """Describe consecutive frames of one video.

    All blocks but the last two depend on one frame alone; ``motion`` and ``change`` compare it with the frame before
    (zero in the first).

    Args:
        frames: uint8 RGB (T, H, W, 3), any H and W.

    Returns:
        float32 (T, DIM), every block of about unit variance; `BLOCKS` names its parts.

    Raises:
        ValueError: another shape or type.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames: found {frames.dtype} {frames.shape}, expected uint8 (T, H, W, 3)")
    parts = [np.zeros((0, DIM), np.float32)]
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        before = min(start, 1)  # one frame of the part before, to compare with
        part = _describe_part(_resized(frames[start - before : start + FRAMES_AT_ONCE]))
        parts.append(part[before:])
    return np.concatenate(parts)


def _resized(frames: np.ndarray) -> np.ndarray:
    if frames.shape[1:3] == (SIDE, SIDE):
        return frames
    pictures = (Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for frame in frames)
    return np.stack([np.asarray(picture) for picture in pictures])


def _describe_part(frames: np.ndarray) -> np.ndarray:
    rgb = np.multiply(np.moveaxis(frames, -1, 0), np.float32(1 / 255), order="C")  # (3, T, 96, 96)
    luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]  # (T, 96, 96)
    top = np.maximum(np.maximum(rgb[0], rgb[1]), rgb[2])
    chroma = top - np.minimum(np.minimum(rgb[0], rgb[1]), rgb[2])
    moments = _hue_moments(rgb, top, chroma)  # (T, HUES, N_MOMENTS)
    blocks = {
        "edges": _cell_orientations(luma),
        "chroma_edges": _orientations(chroma),
        "hues": moments,
        "greys": _grey_histogram(luma, chroma),
        "grid": _grid_means(rgb) - 0.5,
        "motion": _motion(moments),
        "change": _change(rgb),
    }
    scaled = [blocks[name].reshape(len(frames), -1) * gain for name, (_, gain) in LAYOUT.items()]
    return np.concatenate(scaled, axis=1).astype(np.float32)


def _strong_gradients(plane: np.ndarray, threshold: float):
    """Where an image (T, 96, 96) changes fast: frame, row, column, magnitude and direction in [0, 2 pi)."""
    dx, dy = np.zeros_like(plane), np.zeros_like(plane)
    np.subtract(plane[:, :, 2:], plane[:, :, :-2], out=dx[:, :, 1:-1])
    np.subtract(plane[:, 2:], plane[:, :-2], out=dy[:, 1:-1])
    strong = np.flatnonzero(dx * dx + dy * dy > threshold**2)
    dx, dy = dx.ravel()[strong], dy.ravel()[strong]
    frame, pixel = np.divmod(strong, SIDE * SIDE)
    return frame, pixel // SIDE, pixel % SIDE, np.hypot(dx, dy), np.arctan2(dy, dx) % (2 * np.pi)


def _cell_orientations(luma: np.ndarray) -> np.ndarray:
    """Root of the edge mass in 4 x 4 cells x 8 orientations without sign -> (T, 128)."""
    frame, row, column, size, angle = _strong_gradients(luma, LUMA_EDGE)
    cell = row * CELLS // SIDE * CELLS + column * CELLS // SIDE
    start = (frame * CELLS * CELLS + cell) * ORIENTATIONS
    position = angle / np.pi * ORIENTATIONS
    histogram = _soft_histogram(start, position, size, ORIENTATIONS, len(luma) * CELLS * CELLS)
    return np.sqrt(histogram.reshape(len(luma), -1) / SIDE)


def _orientations(chroma: np.ndarray) -> np.ndarray:
    """Root of the share of colour edges in 24 signed orientations, over the whole frame -> (T, 24)."""
    frame, _, _, size, angle = _strong_gradients(chroma, CHROMA_EDGE)
    n = CHROMA_ORIENTATIONS
    histogram = _soft_histogram(frame * n, angle / (2 * np.pi) * n, size, n, len(chroma))
    return np.sqrt(histogram / (histogram.sum(1, keepdims=True) + SIDE / 8))


def _soft_histogram(start: np.ndarray, position: np.ndarray, weight: np.ndarray, bins: int, count: int) -> np.ndarray:
    """``count`` circular histograms; each value is shared by the two nearest bins -> (count, bins)."""
    low = np.floor(position).astype(np.int64)
    high_share = position - low
    total = np.bincount(start + low % bins, weight * (1 - high_share), count * bins)
    total += np.bincount(start + (low + 1) % bins, weight * high_share, count * bins)
    return total.reshape(count, bins)


def _hue_moments(rgb: np.ndarray, top: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Moments of the colourful pixels of each hue -> (T, HUES, N_MOMENTS), zero where a hue is absent.

    Root of the mass; centre x and y in -1..1 and rms radius; the share of mass in rings around the
    centre; harmonics |sum r^k e^(ik angle)| / sum r^k, which tell three from four from five corners at any
    turn and size.
    """
    n_frames = len(chroma)
    found = np.flatnonzero(chroma > COLOURFUL)
    frame, pixel = np.divmod(found, SIDE * SIDE)
    y, x = pixel // SIDE * (2 / SIDE) - 1, pixel % SIDE * (2 / SIDE) - 1
    position = _hue(rgb.reshape(3, -1)[:, found], top.ravel()[found], chroma.ravel()[found]) * (HUES / 6)
    low = np.floor(position).astype(np.int64)
    share = position - low
    group = np.concatenate([frame * HUES + low % HUES, frame * HUES + (low + 1) % HUES])
    weight = np.concatenate([1 - share, share])
    groups = _Groups(group, weight, n_frames * HUES)
    moments = groups.moments(np.concatenate([x, x]), np.concatenate([y, y]))
    return moments.reshape(n_frames, HUES, N_MOMENTS)


def _hue(rgb: np.ndarray, top: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Hue of colourful pixels (n,) in [0, 6): 0 red, 2 green, 4 blue."""
    r, g, b = rgb
    of_red = ((g - b) / chroma) % 6
    return np.where(top == r, of_red, np.where(top == g, (b - r) / chroma + 2, (r - g) / chroma + 4))


class _Groups:
    """Weighted sums over groups of pixels."""

    def __init__(self, group: np.ndarray, weight: np.ndarray, count: int) -> None:
        self.group, self.weight, self.count = group, weight, count
        self.mass = np.bincount(group, weight, count)

    def mean(self, value: np.ndarray) -> np.ndarray:
        """Weighted mean of each group -> (count,); 0 for an empty one."""
        return np.bincount(self.group, self.weight * value, self.count) / np.maximum(self.mass, 1e-6)

    def moments(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """-> (count, N_MOMENTS), see `_hue_moments`."""
        present = np.minimum(self.mass / PRESENT, 1)
        centre_x, centre_y = self.mean(x), self.mean(y)
        x, y = x - centre_x[self.group], y - centre_y[self.group]
        square = x * x + y * y
        rms = np.sqrt(self.mean(square))
        radius = np.sqrt(square) / np.maximum(rms, 1 / SIDE)[self.group]
        shape = [centre_x, centre_y, 4 * rms, *self._rings(radius), *self._harmonics(x, y)]
        gated = (present * value for value in shape)
        return np.stack([np.sqrt(self.mass) / 16, *gated], axis=-1)

    def _rings(self, radius: np.ndarray) -> list[np.ndarray]:
        ring = np.searchsorted(RINGS, radius)
        n = len(RINGS) + 1
        mass = np.bincount(self.group * n + ring, self.weight, self.count * n).reshape(-1, n)
        return list(mass.T / np.maximum(self.mass, 1e-6))

    def _harmonics(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        point = x + 1j * y
        values = []
        for k in HARMONICS:
            power = point**k
            size = self.mean(np.abs(power))
            real, imaginary = self.mean(power.real), self.mean(power.imag)
            values.append(np.hypot(real, imaginary) / np.maximum(size, 1e-9))
        return values


def _motion(moments: np.ndarray) -> np.ndarray:
    """Of each hue: change of root mass, centre and rms radius since the frame before -> (T, HUES, 4)."""
    change = np.zeros((*moments.shape[:2], N_MOTIONS))
    change[1:] = np.diff(moments[..., :N_MOTIONS], axis=0)
    return np.sign(change) * np.sqrt(np.abs(change))


def _grey_histogram(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Root of the share of colourless pixels in 8 levels of luma -> (T, 8)."""
    level = np.minimum((luma * GREYS).astype(np.int64), GREYS - 1)
    level += np.arange(len(luma))[:, None, None] * GREYS
    counts = np.bincount(level[chroma <= COLOURFUL], minlength=len(luma) * GREYS)
    return np.sqrt(counts.reshape(-1, GREYS) / SIDE**2)


def _grid_means(planes: np.ndarray) -> np.ndarray:
    """Means over 6 x 6 cells of (C, T, 96, 96) -> (T, 6, 6, C)."""
    n, cell = len(planes), SIDE // GRID
    cells = planes.reshape(n, -1, GRID, cell, GRID, cell).sum(axis=3).sum(axis=-1)
    return np.moveaxis(cells, 0, -1) / cell**2


def _change(rgb: np.ndarray) -> np.ndarray:
    """Root of the mean absolute difference from the frame before, in 6 x 6 cells -> (T, 6, 6)."""
    change = np.zeros((1, *rgb.shape[1:]), np.float32)
    change[0, 1:] = np.abs(np.diff(rgb, axis=1)).max(axis=0)
    return np.sqrt(_grid_means(change))[..., 0]
