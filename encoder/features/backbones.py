"""Frame-feature networks by name, each with its frame size; what a model folder needs to read a new video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from encoder.features.video import read_frames
from training.errors import CootmartError

FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Backbone:
    """A way to turn frames into features."""

    name: str
    size: int | None
    """frames are scaled to size x size before `describe`; None leaves that to `describe`"""
    describe: Callable[[np.ndarray], np.ndarray]
    """uint8 RGB (T, H, W, 3) -> float32 (T, D)"""
    sequential: bool = False
    """features look at neighbouring frames, so a video is described in one piece"""


def demo_descriptor() -> Backbone:
    """Edges, colours and their change: a light hand-made descriptor for the demo's pictures."""
    from encoder.features.descriptor import describe

    return Backbone("demo_descriptor", 96, describe, sequential=True)


def efficientnet_lite0() -> Backbone:
    """EfficientNet-Lite0 trained on ImageNet, 1280-d (Tan & Le 2019); weights arrive by pip."""
    from encoder.features.efficientnet import EfficientNetLite0Features

    return Backbone("efficientnet_lite0", None, EfficientNetLite0Features())


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "demo_descriptor": demo_descriptor,
    "efficientnet_lite0": efficientnet_lite0,
}


def load_backbone(name: str) -> Backbone:
    """The backbone called ``name``.

    Raises:
        CootmartError: unknown name, or its weights are not installed.
    """
    if name not in BACKBONES:
        raise CootmartError(f"backbone: found {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]()


def video_features(path: str | Path, backbone: Backbone, fps: float) -> np.ndarray:
    """Decode ``path`` at ``fps`` frames a second and describe every frame -> float32 (T, D).

    Raises:
        CootmartError: the file is missing, is no video, or holds no frame.
    """
    size = (backbone.size, backbone.size) if backbone.size else None
    frames = (frame for _, frame in read_frames(path, fps, size))
    if backbone.sequential:
        return backbone.describe(np.stack(list(frames)))
    return np.concatenate([backbone.describe(np.stack(part)) for part in _parts(frames)])


def _parts(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    frames = iter(frames)
    while part := list(islice(frames, FRAMES_AT_ONCE)):
        yield part
