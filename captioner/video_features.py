"""The baselines' input: appearance (2048) and flow (1024) features of whole videos, cut into clips."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from captioner.data import Annotation
from training.errors import CootmartError

EXCEPTIONS = {"_0CqozZun3U": 0.5}  # its published duration is wrong


def read_durations(path: str | Path) -> dict[str, tuple[float, int]]:
    """Seconds and frames of each video from ``name,duration,frames`` rows without a header."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            return {name: (float(seconds), int(frames)) for name, seconds, frames in csv.reader(file)}
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file; expected rows of name,duration,frames") from None
    except ValueError as error:
        raise CootmartError(f"{path}: expected rows of name,duration,frames ({error})") from None


def seconds_per_feature(durations: Mapping[str, tuple[float, int]], dataset: str) -> dict[str, float]:
    """Seconds between the features of each video, by the formula of ``activitynet`` or ``youcook2``."""
    if dataset not in ("youcook2", "activitynet"):
        raise CootmartError(f"data.feature_times: found {dataset!r}, expected youcook2 or activitynet")
    if dataset == "activitynet":
        rates = {n: s * int(frames / int(s) * 0.5) / frames for n, (s, frames) in durations.items()}
        return rates | EXCEPTIONS
    return {n: s * math.ceil(frames / s * 0.5) / frames for n, (s, frames) in durations.items()}


@dataclass(frozen=True)
class VideoFeatures:
    """``<name>_resnet.npy`` and ``<name>_bn.npy`` side by side, cut to the segments of a video.

    Names of ActivityNet lose their leading ``v_`` in files and tables.
    """

    folder: Path
    seconds: Mapping[str, float]
    most: int
    """features of a clip; longer clips are sampled evenly"""

    def available(self, annotation: Annotation) -> bool:
        """Whether both files are there."""
        return all(path.exists() for path in self._paths(annotation.name))

    def __call__(self, annotation: Annotation) -> list[np.ndarray]:
        """One (v, 3072) array a sentence."""
        parts = [self._load(path) for path in self._paths(annotation.name)]
        n = min(map(len, parts))
        features = np.concatenate([part[:n] for part in parts], axis=1)
        return [features[self.indices(self._rate(annotation.name), *times, n)] for times in annotation.timestamps]

    def indices(self, seconds: float, start: float, end: float, n: int) -> np.ndarray:
        """Rows of a segment among ``n`` features."""
        last = min(math.ceil(end / seconds), n - 1)
        first = max(min(math.floor(start / seconds), last - 1), 0)
        count = last - first + 1
        return np.linspace(first, last, self.most).astype(int) if count > self.most else np.arange(first, last + 1)

    def _key(self, name: str) -> str:
        return name if name in self.seconds else name.removeprefix("v_")

    def _paths(self, name: str) -> list[Path]:
        return [Path(self.folder) / f"{self._key(name)}_{kind}.npy" for kind in ("resnet", "bn")]

    def _rate(self, name: str) -> float:
        if self._key(name) not in self.seconds:
            raise CootmartError(f"video {name!r}: no duration; expected a row of it in the duration file")
        return self.seconds[self._key(name)]

    def _load(self, path: Path) -> np.ndarray:
        try:
            return np.load(path, allow_pickle=False).astype(np.float32, copy=False)
        except FileNotFoundError:
            raise CootmartError(f"{path}: no such file") from None
        except ValueError as error:
            raise CootmartError(f"{path}: not an array ({error})") from None
