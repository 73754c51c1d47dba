"""Every shipped encoder configuration is read, built at full size, and trained for two steps on tiny data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder.config import DataConfig, EncoderConfig, ModelConfig
from encoder.data.meta import save_meta
from encoder.features.store import write_features
from encoder.features.text import HashedWords, write_word_features
from encoder.folder import load_encoder
from encoder.model import build_model
from encoder.train import train
from tests.encoder.tiny import video
from training import config as configuration

FOLDER = Path(__file__).parent.parent.parent / "configs" / "encoder"
PATHS = sorted(FOLDER.rglob("*.yaml"))
PUBLISHED_SIZES = {"yc2_100m": 7_011_328, "yc2_2d3d": 8_394_752, "anet": 7_604_224}
ACTIVITYNET_SIZES = {"no_af_no_context_no_cycle": 4_940_032, "hse": 26_111_000}


@cache
def load(path: Path) -> EncoderConfig:
    return configuration.load(EncoderConfig, path)


def variant(config: EncoderConfig) -> EncoderConfig:
    """What a configuration is about, without where its data lie."""
    return replace(config, data=replace(config.data, meta="", video_features="", text_features=""))


def size(model: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(model).parameters())


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory):
    """Data of any width, written once; six videos, two of them for validation."""
    folder = tmp_path_factory.mktemp("data")
    videos = [video(f"v{i}", n, split) for i, (n, split) in enumerate(zip((1, 2, 3, 2, 2, 1), "ttttvv", strict=True))]
    save_meta(folder / "meta_all.json", videos)

    @cache
    def data(video_dim: int, text_dim: int) -> dict[str, str]:
        rng = np.random.default_rng(0)
        frames, words = folder / f"frames{video_dim}.h5", folder / f"words{text_dim}.h5"
        write_features(
            frames, ((v.key, rng.standard_normal((int(4 * v.duration), video_dim), np.float32)) for v in videos)
        )
        write_word_features(words, videos, HashedWords(text_dim))
        return {
            "meta": str(folder / "meta_all.json"),
            "video_features": str(frames),
            "text_features": str(words),
            "train_split": "t",
            "val_split": "v",
        }

    return data


def small(config: EncoderConfig, data: dict[str, str]) -> EncoderConfig:
    """The same variant with narrow layers and two steps of two videos."""
    model = replace(config.model, hidden_size=16, heads=2, ff_size=16, af_hidden=16)
    loop = replace(config.loop, epochs=1)
    return replace(config, model=model, data=replace(config.data, **data), loop=loop, batch_size=2)


def test_there_are_configurations():
    assert len(PATHS) >= 30


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_trains_two_steps(path, tiny_data, tmp_path):
    config = load(path)
    config = small(config, tiny_data(config.model.video_dim, config.model.text_dim))
    (record,) = train(config, tmp_path / "run")
    assert np.isfinite(record["train_loss"]) and record["train_loss"] > 0
    assert 0 <= record["val_score"] <= 1 and record["best"]
    assert load_encoder(tmp_path / "run")[1] == config


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_header_says_the_command(path):
    heading = path.read_text(encoding="utf-8").split("\n")
    assert heading[0].startswith("# ") and len(heading[0]) > 20
    assert heading[1].startswith(f"# cootmart train encoder {path.relative_to(FOLDER.parent.parent)} --out runs/")


def test_every_configuration_is_another_one():
    variants = [variant(load(path)) for path in PATHS]
    for i, one in enumerate(variants):
        assert one not in variants[:i], PATHS[i]


def test_all_are_built_at_full_size():
    assert all(size(load(path).model) > 4_000_000 for path in PATHS)


@pytest.mark.parametrize("name", PUBLISHED_SIZES)
def test_published_parameter_counts(name):
    assert size(load(FOLDER / "paper2020" / f"{name}.yaml").model) == PUBLISHED_SIZES[name]


@pytest.mark.parametrize("name", ACTIVITYNET_SIZES)
def test_parameter_counts_of_table_1(name):
    """The table is about ActivityNet, whose frame features are 2048 wide."""
    model = load(FOLDER / "ablations" / f"{name}.yaml").model
    assert size(replace(model, video_dim=2048)) == pytest.approx(ACTIVITYNET_SIZES[name], rel=1e-4)


def test_defaults_are_those_of_youcook2():
    config = load(FOLDER / "paper2020" / "yc2_100m.yaml")
    assert config.model == ModelConfig()
    assert variant(config).data == replace(DataConfig(), meta="", video_features="", text_features="")
