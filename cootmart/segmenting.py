"""The ways to find the segments of a video that nobody has annotated, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioner.config import DataConfig
from captioner.segmentation import LengthPrior, change_points, likeliest_segments
from captioner.segmentation_scenes import FPS, SIDE, scene_cuts
from captioner.segments import Segment, by_length
from encoder.boundaries import Boundaries
from encoder.features.video import read_frames
from training.errors import CootmartError

METHODS = {
    "auto": "learnt where the model has learnt it, else changes",
    "learnt": "where the training videos' segments would start and end",
    "changes": "where the frame features change",
    "scenes": "shots, by PySceneDetect",
    "uniform": "evenly, as many as a training video of that length would have",
}
SHORTEST_SCENE = 0.2
"""of the mean length of training segments"""


@dataclass(frozen=True)
class Segmenter:
    """What is known about segments: their lengths in the training videos and, if learnt, where they start and end."""

    lengths: DataConfig
    boundaries: Boundaries | None

    def __call__(self, method: str, video: str | Path, features: np.ndarray, duration: float) -> list[Segment]:
        """Segments of a video by one of `METHODS`.

        Args:
            features: (T, D), evenly spaced over ``duration`` seconds.

        Raises:
            CootmartError: nothing was learnt, or PySceneDetect is not installed.
        """
        mean, deviation, pause = (
            self.lengths.segment_seconds,
            self.lengths.segment_deviation,
            self.lengths.segment_pause,
        )
        if method == "auto":
            method = "learnt" if self.boundaries and self.boundaries.dim == features.shape[1] else "changes"
        if method == "learnt":
            return likeliest_segments(self._log_odds(features), duration, LengthPrior(mean, deviation))
        if method == "scenes":
            return scene_cuts(read_frames(video, FPS, SIDE), duration, SHORTEST_SCENE * mean)
        if method == "changes":
            return change_points(features, duration, LengthPrior(mean + pause, deviation))
        return by_length(duration, mean + pause)

    def _log_odds(self, features: np.ndarray) -> np.ndarray:
        if self.boundaries is None:
            raise CootmartError(
                "segments: this model has not learnt where segments start and end (its encoder's folder has no "
                "boundaries.safetensors); choose another way, such as changes"
            )
        return self.boundaries.log_odds(features)
