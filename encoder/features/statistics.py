"""What training features look like, kept in the encoder's model folder, so that features of another kind are noticed.

An encoder fed with features of another network, another rate of values or another preprocessing of the frames answers
without complaint, and wrongly. The statistics make that visible: a video whose mean feature lies far outside those of
the training videos, or whose features vary much more or less, is called foreign.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from training.errors import CootmartError
from training.files import read_json, write_json

FILE = "feature_statistics.json"
FAR = 2.0
"""times farther from the mean than the farthest training video but the last percent"""
SPREAD = 4.0
"""times more or less varied than the training videos"""
LEAST_DEVIATION = 1e-3
"""of a dimension, as a share of the typical one: constant dimensions would exaggerate"""
ENOUGH = 16
"""frames of a new video without which nothing is said about how much they vary"""
FEW = 3
"""training videos without which nothing can be said"""


@dataclass(frozen=True)
class FeatureStatistics:
    """Of the mean features of the training videos."""

    mean: tuple[float, ...]
    """D values: mean over videos"""
    deviation: tuple[float, ...]
    """D values: standard deviation over videos"""
    distance: float
    """root mean square of the standardised mean feature; 99 percent of training videos lie nearer"""
    spread: float
    """root mean square deviation of frames from their video's mean; median of the training videos"""

    @classmethod
    def measure(cls, videos: Iterable[np.ndarray]) -> FeatureStatistics:
        """Statistics of training videos (T, D).

        Raises:
            CootmartError: fewer than three videos.
        """
        looks = [(x.mean(0), _spread(x)) for x in (x.astype(np.float32) for x in videos)]
        if len(looks) < FEW:
            raise CootmartError(f"feature statistics: found {len(looks)} videos, expected at least {FEW}")
        means = np.stack([mean for mean, _ in looks])  # (V, D)
        deviation = means.std(0)
        deviation = np.maximum(deviation, LEAST_DEVIATION * deviation.max() + 1e-12)
        distances = np.sqrt(np.square((means - means.mean(0)) / deviation).mean(1))
        spread = float(np.median([spread for _, spread in looks]))
        return cls(_short(means.mean(0)), _short(deviation), float(np.quantile(distances, 0.99)), spread)

    @classmethod
    def load(cls, folder: str | Path) -> FeatureStatistics | None:
        """Those of a model folder; None where there are none: a folder made by an older version or an import.

        Raises:
            CootmartError: the file is no JSON, or misses a value.
        """
        path = Path(folder) / FILE
        if not path.exists():
            return None
        values = read_json(path)
        try:
            mean, deviation = (tuple(map(float, values[name])) for name in ("mean", "deviation"))
            return cls(mean, deviation, float(values["distance"]), float(values["spread"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CootmartError(
                f"{path}: {type(error).__name__} {error}; expected mean, deviation, distance and spread as training "
                "writes them; delete the file to do without this check"
            ) from None

    def save(self, folder: str | Path) -> None:
        """Write ``feature_statistics.json`` to a model folder."""
        write_json(Path(folder) / FILE, asdict(self))

    def oddity(self, features: np.ndarray) -> str | None:
        """What makes the features (T, D) of a new video foreign, None where nothing does."""
        if features.shape[1] != len(self.mean):
            return f"they are {features.shape[1]} wide, those of the training videos {len(self.mean)}"
        standard = (features.mean(0, dtype=np.float64) - self.mean) / np.array(self.deviation)
        distance, spread = float(np.sqrt(np.square(standard).mean())), _spread(features.astype(np.float32))
        if distance > FAR * self.distance:
            return f"their mean lies {distance / self.distance:.1f} times as far out as that of the training videos"
        if len(features) >= ENOUGH and self.spread and not 1 / SPREAD <= spread / self.spread <= SPREAD:
            return f"they vary {spread / self.spread:.2g} times as much as those of the training videos"
        return None


def _spread(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x - x.mean(0)).mean()))


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
