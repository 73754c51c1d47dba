"""Frame-feature networks by name, each with its frame size and rate; what a model folder needs to read a new video.

A name may carry an argument after a colon: ``s3d_howto100m:PATH`` of its weights, ``hf:NAME_OR_FOLDER`` of a model.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from encoder.features.video import read_frames
from training.errors import CootmartError

FRAMES_AT_ONCE = 16
"""frames of full size in memory; 16 of 3840 x 2160 are 400 MB"""
ROUNDING = 1e-6
"""frames"""


@dataclass(frozen=True)
class Window:
    """The piece of video behind one feature, for networks that look at motion."""

    frames: int
    fps: float
    """frames a second inside the window"""


@dataclass(frozen=True)
class Backbone:
    """A way to turn frames into features."""

    name: str
    size: int | tuple[int, int] | None
    """frames are scaled to it as by `read_frames` before `describe`; None leaves that to `describe`"""
    describe: Callable[[np.ndarray], np.ndarray]
    """uint8 RGB (T, H, W, 3) -> float32 (T, D); with a window, at most its number of frames -> (1, D)"""
    sequential: bool = False
    """features compare a frame with the one before it"""
    window: Window | None = None
    """None where a feature describes one frame"""
    rate: float = 1.0
    """features a second of its recipe"""


def demo_descriptor() -> Backbone:
    """Edges, colours and their change: a light hand-made descriptor for the demo's pictures."""
    from encoder.features.descriptor import describe

    return Backbone("demo_descriptor", (96, 96), describe, sequential=True)


def efficientnet_lite0() -> Backbone:
    """EfficientNet-Lite0 trained on ImageNet, 1280-d (Tan & Le 2019); weights arrive by pip."""
    from encoder.features.efficientnet import EfficientNetLite0Features

    return Backbone("efficientnet_lite0", None, EfficientNetLite0Features())


def s3d_howto100m(path: str = "") -> Backbone:
    """S3D of MIL-NCE, 512-d, as COOT's authors advise it for new videos: 32 frames at 16 fps, a feature a second."""
    return _s3d("s3d_howto100m", path, 256, Window(32, 16.0))


def s3d_howto100m_paper2020(path: str = "") -> Backbone:
    """S3D of MIL-NCE, 512-d, as COOT's YouCook2 features seem to be: 32 frames at 10 fps, a feature every 1.6 s."""
    return _s3d("s3d_howto100m_paper2020", path, 224, Window(32, 10.0))


def _s3d(name: str, path: str, size: int, window: Window) -> Backbone:
    """Central square; windows overlap by half."""
    from encoder.features.s3d import S3DFeatures, weights_path

    describe = S3DFeatures(weights_path(path), size, window.frames)
    full_name = f"{name}:{path}" if path else name
    return Backbone(full_name, size, describe, window=window, rate=2 * window.fps / window.frames)


def hugging_face(model: str = "") -> Backbone:
    """Any vision model of Hugging Face's `transformers`, by name or folder, with its own preprocessing."""
    from encoder.features.huggingface import CLIP_FPS, HuggingFaceFeatures

    describe = HuggingFaceFeatures(model)
    window = Window(describe.frames, CLIP_FPS) if describe.frames > 1 else None
    return Backbone(f"hf:{model}", None, describe, window=window)


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "demo_descriptor": demo_descriptor,
    "efficientnet_lite0": efficientnet_lite0,
    "s3d_howto100m": s3d_howto100m,
    "s3d_howto100m_paper2020": s3d_howto100m_paper2020,
    "hf": hugging_face,
}
WITH_ARGUMENT = {"s3d_howto100m": "PATH", "s3d_howto100m_paper2020": "PATH", "hf": "NAME_OR_FOLDER"}


def load_backbone(name: str) -> Backbone:
    """The backbone called ``name``, or ``name:argument``.

    Raises:
        CootmartError: unknown name, or its weights are missing or of another network.
    """
    kind, colon, argument = name.partition(":")
    if kind not in BACKBONES:
        known = (f"{known}:{WITH_ARGUMENT[known]}" if known in WITH_ARGUMENT else known for known in BACKBONES)
        raise CootmartError(f"backbone: found {name!r}, expected one of {', '.join(known)}")
    if colon and kind not in WITH_ARGUMENT:
        raise CootmartError(f"backbone: found {name!r}, expected {kind!r} without a colon and what follows")
    return BACKBONES[kind](argument) if argument else BACKBONES[kind]()


def video_features(
    path: str | Path,
    backbone: Backbone,
    fps: float | None = None,
    on_frame: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Decode ``path`` and describe it ``fps`` times a second -> float32 (T, D), in constant memory.

    Feature k belongs to the time k / fps: its frame, or the first frame of its window. Windows that would reach past
    the end are moved back to end with the last frame; a video shorter than a window is one short window.

    Args:
        path: a file, or a URL that FFmpeg opens.
        fps: features a second; None takes the rate of the backbone's recipe.
        on_frame: called with the time in seconds of every frame as it comes; what it raises ends the reading.

    Raises:
        CootmartError: the file is missing, is no video, or holds no frame.
    """
    fps = backbone.rate if fps is None else fps
    if not fps > 0:
        raise CootmartError(f"frame features: found a rate of {fps}, expected features a second above 0")
    if backbone.window:
        frames = _watched(read_frames(path, backbone.window.fps, backbone.size), on_frame)
        return _described_windows(frames, backbone, backbone.window.fps / fps)
    return _described_frames(_watched(read_frames(path, fps, backbone.size), on_frame), backbone)


def _watched(
    frames: Iterable[tuple[float, np.ndarray]], on_frame: Callable[[float], None] | None
) -> Iterator[np.ndarray]:
    for time, frame in frames:
        if on_frame:
            on_frame(time)
        yield frame


def _described_frames(frames: Iterable[np.ndarray], backbone: Backbone) -> np.ndarray:
    described, before = [], []
    for part in _parts(frames):
        described.append(backbone.describe(np.stack(before + part))[len(before) :])
        before = part[-1:] if backbone.sequential else []
    return np.concatenate(described)


def _parts(frames: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    frames = iter(frames)
    while part := list(islice(frames, FRAMES_AT_ONCE)):
        yield part


def _described_windows(frames: Iterable[np.ndarray], backbone: Backbone, stride: float) -> np.ndarray:
    """Describe a window from every ``stride``-th frame on, each as soon as its last frame has come."""
    length = backbone.window.frames
    latest: deque[np.ndarray] = deque(maxlen=length)
    features: list[np.ndarray] = []
    count = 0
    for count, frame in enumerate(frames, 1):
        latest.append(frame)
        while int(len(features) * stride + ROUNDING) + length <= count:
            features.append(backbone.describe(np.stack(latest)))
    rest = math.ceil(count / stride - ROUNDING) - len(features)
    if rest > 0:
        features += [backbone.describe(np.stack(latest))] * rest
    return np.concatenate(features)
