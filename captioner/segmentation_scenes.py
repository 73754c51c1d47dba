"""Segments from shot boundaries, by PySceneDetect (an extra: ``pip install 'cootmart[scenes]'``)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from captioner.segments import Segment
from training.errors import CootmartError

FPS = 8.0
"""frames a second to look at"""
SIDE = 128
"""pixels of their shorter side"""


def scene_cuts(frames: Iterable[tuple[float, np.ndarray]], duration: float, shortest: float) -> list[Segment]:
    """Cut a video where its picture changes at once.

    Args:
        frames: (seconds, uint8 RGB (H, W, 3)) at `FPS` frames a second.
        duration: seconds.
        shortest: seconds; shots shorter than this are joined with the one before.

    Returns:
        Segments that cover the video without gaps.

    Raises:
        CootmartError: PySceneDetect is not installed.
    """
    try:
        from scenedetect import ContentDetector, FrameTimecode
    except ImportError:
        raise CootmartError(
            "segments: scenes need PySceneDetect; install it with `pip install 'cootmart[scenes]'`, or choose "
            "another way to find segments"
        ) from None
    detector = ContentDetector(min_scene_len=max(1, round(shortest * FPS)))
    cuts, last = [], None
    for k, (_, frame) in enumerate(frames):
        last = FrameTimecode(k, FPS)
        cuts += detector.process_frame(last, np.ascontiguousarray(frame[..., ::-1]))
    if last is not None:
        cuts += detector.post_process(last)
    edges = sorted({0.0, *(cut.frame_num / FPS for cut in cuts if 0 < cut.frame_num / FPS < duration), duration})
    return list(itertools.pairwise(edges))
