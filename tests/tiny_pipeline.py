"""A captioner's model folder with random weights that reads video files, and small videos for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from captioner.config import CaptionerConfig, DataConfig
from captioner.folder import save_captioner
from captioner.vocabulary import Vocabulary
from encoder.boundaries import example, learn_boundaries, save_boundaries
from encoder.config import EncoderConfig, FeatureConfig
from encoder.config import ModelConfig as EncoderModelConfig
from encoder.features.descriptor import DIM
from encoder.features.statistics import FeatureStatistics
from encoder.folder import save_encoder
from encoder.model import build_model as build_encoder
from tests.captioner.tiny import tiny_model

FPS = 4.0
WORDS = ("red", "green", "ball", "spins", "hops", "leaves", "the", "a", "box", "wall", "behind", "then", "it", ".")


def make_model(folder: Path, learnt: bool = True, statistics: bool = True, model: str = "mart") -> Path:
    """A model folder; ``learnt`` with a boundary network, ``statistics`` with those of videos like no other."""
    encoder = EncoderConfig(
        model=EncoderModelConfig(video_dim=DIM, text_dim=8, hidden_size=12, heads=2, ff_size=12, af_hidden=12),
        features=FeatureConfig("demo_descriptor", FPS),
    )
    torch.manual_seed(0)
    save_encoder(folder / "source", build_encoder(encoder.model), encoder, "# card\n")
    rng = np.random.default_rng(0)
    if learnt:
        features = [rng.standard_normal((24, DIM), np.float32) for _ in range(3)]
        examples = [example(x, 6.0, [(0.0, 2.0), (3.0, 5.0)]) for x in features]
        save_boundaries(learn_boundaries(examples, steps=2), folder / "source")
    if statistics:
        offset = 30 * rng.standard_normal((1, DIM))
        others = (offset + rng.standard_normal((1, DIM)) + rng.standard_normal((20, DIM)) for _ in range(50))
        FeatureStatistics.measure(others).save(folder / "source")
    vocabulary = Vocabulary([*WORDS, *(f"word{i}" for i in range(30 - 7 - len(WORDS)))])
    network = tiny_model(model)
    lengths = {"segment_seconds": 2.0, "segment_deviation": 0.5, "segment_pause": 0.5}
    data = DataConfig(features="clip", encoder=str(folder / "source"), **lengths)
    save_captioner(network, vocabulary, CaptionerConfig(network.config, data), folder / "captioner", "# card\n")
    return folder / "captioner"


def make_video(
    path: Path, seconds: float = 6.0, rate: int = 4, size: tuple[int, int] = (48, 64), seed: int = 0
) -> Path:
    """A square that moves over a grey floor and changes its colour every two seconds."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (int(seconds // 2) + 1, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for k in range(round(seconds * rate)):
            picture = np.full((*size, 3), 120, np.uint8)
            x = k * 2 % (size[1] - 16)
            picture[16:32, x : x + 16] = colours[int(k / rate // 2)]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
