"""Every shipped captioner configuration is read, built at full size, and trained for two steps on tiny data."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.config import CaptionerConfig, ScstConfig
from captioner.folder import load_captioner
from captioner.models import build_model
from captioner.train import train
from captioner.vocabulary import Vocabulary
from encoder.embeddings import EmbeddingsWriter
from training import config as configuration
from training.files import write_json

FOLDER = Path(__file__).parent.parent.parent / "configs" / "captioner"
PATHS = sorted(FOLDER.rglob("*.yaml"))
RUNS = [path for path in PATHS if not path.stem.startswith("base")]
ROWS = [path for path in RUNS if path.parent.name == "paper2020"]
VIDEOS = {"train": 4, "val": 2}
# published numbers of parameters with features 1152 wide and 992 words; norec without two layers that it never uses
PUBLISHED_SIZES = {"mart": 24_045_754, "norec": 11_052_728 - 2 * 590_592, "vanilla": 20_546_528, "xl": 11_046_584}


@cache
def load(path: Path) -> CaptionerConfig:
    return configuration.load(CaptionerConfig, path)


def variant(config: CaptionerConfig) -> CaptionerConfig:
    """What a configuration is about, all data sets being the same data."""
    kept = {"features": config.data.features, "train_embeddings": config.data.train_embeddings}
    return replace(config, data=replace(type(config.data)(), **kept, max_n_sen=config.data.max_n_sen))


@pytest.fixture(scope="module")
def tiny_data(tmp_path_factory) -> Path:
    """Four training and two validation videos in every form that a captioner can read."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    vectors = []
    for split, n_videos in VIDEOS.items():
        names = [f"v_{split}{i}" for i in range(n_videos)]
        write_json(folder / f"{split}.json", {name: annotation(i + 1) for i, name in enumerate(names)})
        for name in names:
            for kind, size in (("resnet", 5), ("bn", 3)):
                np.save(folder / f"{name.removeprefix('v_')}_{kind}.npy", random.standard_normal((12, size)))
            vectors.append(f"{name.removeprefix('v_')},8.0,240\n")
        with EmbeddingsWriter(folder / f"{split}.h5") as out:
            clips = list(range(1, n_videos + 1))
            rows = {"vid_emb": (n_videos, 8), "vid_context": (n_videos, 4), "clip_emb": (sum(clips), 4)}
            out.append(names, clips, {k: random.standard_normal(shape) for k, shape in rows.items()})
    (folder / "durations.csv").write_text("".join(vectors), encoding="utf-8")
    Vocabulary(["the", "ball", "hops"]).save(folder / "words.json")
    (folder / "glove.txt").write_text("ball " + "0.5 " * 16 + "\n", encoding="utf-8")
    return folder


def annotation(n: int) -> dict:
    return {"timestamps": [[2 * j, 2 * j + 2] for j in range(n)], "sentences": ["The ball hops."] * n}


def small(config: CaptionerConfig, folder: Path) -> CaptionerConfig:
    """The same variant with narrow layers and one epoch of two steps."""
    wanted = {name: str(folder / f"{name.split('_')[0]}.json") for name in ("train_annotations", "val_annotations")}
    wanted |= {name: str(folder / f"{name.split('_')[0]}.h5") for name in ("train_embeddings", "val_embeddings")}
    wanted |= {"video_features": str(folder), "durations": str(folder / "durations.csv")}
    wanted |= {"glove": str(folder / "glove.txt"), "vocabulary": str(folder / "words.json")}
    data = replace(config.data, val_references=(), **{k: v for k, v in wanted.items() if getattr(config.data, k)})
    sizes = {"hidden_size": 16, "intermediate_size": 16, "word_vec_size": 16, "n_heads": 2}
    batch_size = 2 if config.batch_of == "videos" else 5  # of 4 videos with 10 sentences
    loop = replace(config.loop, epochs=1)
    return replace(config, model=replace(config.model, **sizes), data=data, loop=loop, batch_size=batch_size)


def test_there_is_one_for_every_row_of_both_tables():
    found = sorted(path.read_text(encoding="utf-8").split(":")[0] for path in ROWS)
    assert found == ["# Table 4 of the COOT paper"] * 10 + ["# Table 5 of the COOT paper"] * 9


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_builds_at_full_size(path):
    config = load(path)
    size = {"clip": 384, "vidclip": 1152, "video": 3072}[config.data.features.removesuffix("_window")]
    model = replace(config.model, video_feature_size=size, vocab_size=992)
    with torch.device("meta"):
        found = sum(p.numel() for p in build_model(model).parameters())
    assert found == PUBLISHED_SIZES[model.model] + (768 + 2) * (size - 1152)


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_trains_two_steps(path, tiny_data, tmp_path):
    config = small(load(path), tiny_data)
    if config.scst.start:
        train(replace(config, scst=ScstConfig()), tmp_path / "start")
        config = replace(config, scst=replace(config.scst, start=str(tmp_path / "start")))
    (record,) = train(config, tmp_path)
    assert np.isfinite(record["train_loss"]) and record["lr"] > 0
    state = torch.load(tmp_path / "last" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 2
    assert load_captioner(tmp_path)[2].model.model == load(path).model.model
    written = json.loads((tmp_path / "captions" / "val_0.json").read_text(encoding="utf-8"))["results"]
    assert {name: len(sentences) for name, sentences in written.items()} == {"v_val0": 1, "v_val1": 2}


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_says_how_to_run_it(path):
    where = path.relative_to(FOLDER.parent.parent).as_posix()
    command = path.read_text(encoding="utf-8").splitlines()[1]
    assert command == f"# cootmart train captioner {where} --out runs/{path.stem}"


@pytest.mark.parametrize("path", ROWS, ids=lambda p: p.stem)
def test_says_which_row_it_is(path):
    row, _, scores = path.read_text(encoding="utf-8").splitlines()[:3]
    assert re.match(r"# Table [45] of the COOT paper: .*\.$", row)
    names = ["BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D", r"R@4"]
    assert re.search(", ".join(rf"{name} \d+\.\d\d" for name in names) + r"\.$", scores)


def test_no_two_are_the_same():
    configs = [load(path) for path in RUNS]
    assert len({repr(variant(config)) for config in configs}) == len(RUNS)
