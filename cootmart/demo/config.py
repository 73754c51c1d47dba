"""What the demo runs: how many videos, and the configurations of both stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from captioner.config import CaptionerConfig
from encoder.config import EncoderConfig
from encoder.features.descriptor import DIM
from training import config as configuration

NAMES = {
    "mart": "MART",
    "norec": "MART without recurrence",
    "vanilla": "Vanilla transformer",
    "xl": "Transformer-XL",
    "xlgrad": "Transformer-XL with gradient",
    "untied": "Untied transformer",
}


@dataclass(frozen=True)
class VideosConfig:
    """The rendered data set."""

    train: int = 1500
    """training videos"""
    val: int = 200
    """videos that choose the best epoch"""
    test: int = 200
    """videos that are looked at once, at the end"""
    seed: int = 0
    """seed of the stories"""


@dataclass(frozen=True)
class DemoConfig:
    """One run of the demo."""

    videos: VideosConfig = field(default_factory=VideosConfig)
    word_size: int = 256
    """width of the random vector that stands for a word"""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)
    baseline: str = "norec"
    """captioner trained beside the first one with the same options, for comparison; empty for none"""

    def systems(self) -> dict[str, CaptionerConfig]:
        """Every captioner of the demo under the name that the report gives it."""
        models = [self.captioner.model.model, *filter(None, [self.baseline])]
        return {NAMES[m]: replace(self.captioner, model=replace(self.captioner.model, model=m)) for m in models}


def configs_folder() -> Path:
    """The shipped YAML files, from a checkout or from an installed package."""
    package = Path(__file__).resolve().parents[1]
    return next(folder for folder in (package.parent / "configs", package / "configs") if folder.is_dir())


def load_demo_config(path: Path | None, overrides: Iterable[str], out: Path, seed: int) -> DemoConfig:
    """``configs/demo.yaml`` or ``path`` with overrides, and with every file placed in the run folder ``out``."""
    config = configuration.load(DemoConfig, path or configs_folder() / "demo.yaml", overrides)
    return replace(config, encoder=_encoder(config, out, seed), captioner=_captioner(config, out, seed))


def _encoder(config: DemoConfig, out: Path, seed: int) -> EncoderConfig:
    encoder = config.encoder
    return replace(
        encoder,
        model=replace(encoder.model, video_dim=DIM, text_dim=config.word_size),
        data=replace(
            encoder.data,
            meta=str(out / "data" / "meta_all.json"),
            video_features=str(out / "features" / "frames.h5"),
            text_features=str(out / "features" / "words.h5"),
        ),
        features=replace(encoder.features, words=f"hashed:{config.word_size}"),
        loop=replace(encoder.loop, seed=seed),
    )


def _captioner(config: DemoConfig, out: Path, seed: int) -> CaptionerConfig:
    captioner = config.captioner
    data = replace(
        captioner.data,
        train_embeddings=str(out / "features" / "embeddings_train.h5"),
        val_embeddings=str(out / "features" / "embeddings_val.h5"),
        meta=str(out / "data" / "meta_all.json"),
        val_references=tuple(str(out / "data" / f"captions_val_{i}.json") for i in (1, 2, 3)),
        encoder=str(out / "encoder"),
    )
    return replace(captioner, data=data, loop=replace(captioner.loop, seed=seed))
