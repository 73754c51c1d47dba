"""Which frames of a video belong to a segment, and which of them are looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Random = np.random.Generator | np.random.RandomState
Span = tuple[float, float]
"""start and stop in seconds"""


def segment_frames(
    start_sec: float, stop_sec: float, duration: float, num_frames: int, add_stop_frame: int, min_frames: int = 0
) -> tuple[int, int]:
    """Frames ``[start, stop)`` of the segment from ``start_sec`` to ``stop_sec`` (in either order).

    Args:
        duration: seconds of the video, which has ``num_frames`` evenly spaced frames.
        add_stop_frame: frames added behind the last one.
        min_frames: shorter segments grow to this length (see `expand`).

    Returns:
        At least one frame, all inside the video, for a segment that starts before ``duration``.
    """
    fps = num_frames / duration
    start_sec, stop_sec = sorted((start_sec, stop_sec))
    start = min(math.floor(fps * start_sec), num_frames - 1)
    stop = min(math.ceil(fps * stop_sec) + add_stop_frame, num_frames)
    return expand(start, max(stop, start + 1), num_frames, min_frames)


def expand(start: int, stop: int, num_frames: int, min_frames: int) -> tuple[int, int]:
    """Let ``[start, stop)`` grow to ``min_frames`` (or the whole video), one frame at a time, first at its start."""
    want = min(min_frames, num_frames)
    before = True
    while stop - start < want:
        if before:
            start = max(start - 1, 0)
        else:
            stop = min(stop + 1, num_frames)
        before = not before
    return start, stop


def centre_indices(num_frames: int, max_frames: int) -> np.ndarray:
    """The middle frame of each of ``k = min(num_frames, max_frames)`` equal intervals -> (k,) int64."""
    k = min(num_frames, max_frames)
    starts = np.linspace(0, num_frames, k, endpoint=False)
    return np.floor(starts + num_frames / (2 * k)).astype(np.int64)


def random_indices(num_frames: int, max_frames: int, rng: Random) -> np.ndarray:
    """One random frame of each of ``k = min(num_frames, max_frames)`` intervals -> (k,) int64, rising.

    The intervals have whole lengths that differ by at most one frame; which are the long ones is random too.
    """
    k = min(num_frames, max_frames)
    starts = np.ceil(np.linspace(0, num_frames, k, endpoint=False) - 0.5).astype(np.int64)
    widths = np.diff(starts)
    rng.shuffle(widths)
    widths = np.append(widths, num_frames - widths.sum())
    # the published draw lays the first interval at the end
    starts, widths = np.cumsum(widths) - widths[0], np.roll(widths, -1)
    return np.floor(starts + widths * rng.random(k)).astype(np.int64)


def truncated_noise(shape: tuple[int, ...], std: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise without what lies beyond two standard deviations -> float32 ``shape``."""
    noise = rng.standard_normal(shape, np.float32)
    while (outside := np.abs(noise) > 2).any():
        noise[outside] = rng.standard_normal(int(outside.sum()), np.float32)
    return noise * np.float32(std)


def noisy_borders(spans: Sequence[Span], fraction: float, duration: float, rng: np.random.Generator) -> list[Span]:
    """Move each border of each span by a uniform draw, at most ``fraction`` of the span's length, inside the video."""
    shifts = rng.uniform(-fraction, fraction, (len(spans), 2))
    moved = [(a + da * (b - a), b + db * (b - a)) for (a, b), (da, db) in zip(spans, shifts, strict=True)]
    return [tuple(np.clip(span, 0, duration).tolist()) for span in moved]


def uniform_spans(duration: float, count: int) -> list[Span]:
    """``count`` spans of equal length that cover ``duration`` seconds."""
    return list(pairwise(np.linspace(0, duration, count + 1).tolist()))
