"""Damaged data sets, at random but repeatable: a clear error or a correct result, and `check_data` knows both."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from encoder.config import DataConfig, ModelConfig
from encoder.data.check import check_data
from encoder.data.dataset import Loader, open_splits
from encoder.data.meta import Segment, Video, save_meta
from encoder.embeddings import write_embeddings
from encoder.features.store import write_features
from encoder.features.text import HashedWords, write_word_features
from encoder.model import CootModel
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, frames, write_tiny
from training.errors import CootmartError

MODEL = ModelConfig(video_dim=VIDEO_DIM, text_dim=TEXT_DIM, hidden_size=16, heads=2, ff_size=16, af_hidden=16)
FILES = ("meta_all.json", "frames.h5", "words.h5", "words_sentence_splits.json")


def data_in(folder) -> DataConfig:
    return DataConfig(
        meta=str(folder / FILES[0]),
        video_features=str(folder / FILES[1]),
        text_features=str(folder / FILES[2]),
        max_frames=8,
    )


def used(folder) -> list[int]:
    """Clips of every video, read and embedded as training and `cootmart embed` do it."""
    config, model, counts = data_in(folder), CootModel(MODEL).eval(), []
    for i, data in enumerate(open_splits(config, VIDEO_DIM, TEXT_DIM)):
        written = write_embeddings(folder / f"embeddings{i}.h5", model, Loader(data, 2))
        counts += written.clip_num.tolist()
    return counts


def checked(folder) -> list[str]:
    config = data_in(folder)
    files = (config.meta, config.video_features, config.text_features)
    return check_data(*files, VIDEO_DIM, TEXT_DIM, ("train", "val")).problems


def truncate(folder, rng):
    path = folder / rng.choice(FILES)
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])


def flip(folder, rng):
    path = folder / rng.choice(FILES)
    content = bytearray(path.read_bytes())
    for at in rng.integers(len(content), size=rng.integers(1, 30)):
        content[at] = rng.integers(256)
    path.write_bytes(bytes(content))


def array(folder, rng):
    """Another array in place of one video's features or words."""
    name, width = (("frames.h5", VIDEO_DIM), ("words.h5", TEXT_DIM))[rng.integers(2)]
    with h5py.File(folder / name, "a") as file:
        key = str(rng.choice(list(file)))
        x = file[key][()]
        x[rng.integers(len(x)), rng.integers(width)] = rng.choice([np.nan, np.inf, 1e38, 0])
        choices = [x, x[:, 1:], x[:0], x[:, 0], x[:-1], x.astype(np.float64), x.astype("S3"), None]
        del file[key]
        if (new := choices[rng.integers(len(choices))]) is not None:
            file[key] = new


def annotation(folder, rng):
    """Another value in place of one of an entry."""
    path = folder / FILES[0]
    meta = json.loads(path.read_text(encoding="utf-8"))
    entry = meta[str(rng.choice(list(meta)))]
    odd = [None, "", -1, 0, 3, 1e9, float("nan"), [], "v1", {}, "train", "caf\ufffd", True]
    target = entry if rng.integers(2) else entry["segments"][rng.integers(len(entry["segments"]))]
    target[str(rng.choice(list(target)))] = odd[rng.integers(len(odd))]
    path.write_text(json.dumps(meta), encoding="utf-8")


def splits(folder, rng):
    """Other sentence lengths."""
    path = folder / FILES[3]
    lengths = json.loads(path.read_text(encoding="utf-8"))
    key = str(rng.choice(list(lengths)))
    odd = [None, [], [0], [4], [4, 4], [-4, 12], "44", [4.0], 4, [[4]], [True] * 4]
    lengths[key] = odd[rng.integers(len(odd))]
    path.write_text(json.dumps(lengths), encoding="utf-8")


@pytest.mark.parametrize("damage", [truncate, flip, array, annotation, splits], ids=lambda f: f.__name__)
def test_damaged_data_give_a_clear_error_or_a_result(tmp_path, damage):
    write_tiny(tmp_path / "whole")
    expected, refused, rng = used(tmp_path / "whole"), 0, np.random.default_rng(0)
    for i in range(60):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / str(i))
        damage(folder, rng)
        problems = checked(folder)
        try:
            counts = used(folder)
        except CootmartError as error:
            refused += 1
            assert any(name in str(error) for name in (*FILES, "embeddings")), error
            assert problems or "embeddings" in str(error), error  # a number may be finite and yet too large
        else:
            assert counts == expected or damage in (flip, annotation)
            assert not problems, "what check-data finds stops a training"
    assert refused > 10


def test_undamaged_data_have_no_problem(tmp_path):
    write_tiny(tmp_path)
    assert checked(tmp_path) == []


def test_lengths_of_every_kind(tmp_path):
    """One clip, one frame, a clip of no length, 90 clips, overlapping clips, one that ends after the video."""
    clips = [(i * 0.5, i * 0.5 + 1) for i in range(90)]
    spans = {"one": [(0, 1)], "point": [(3, 3), (0, 9)], "many": clips, "beyond": [(2, 50)], "same": [(1, 2)] * 3}
    videos = [
        Video(key, key, split, 46.0 if key == "many" else 10.0, tuple(Segment(f"cut {key}", *s) for s in spans[key]))
        for key, split in zip(spans, ("train", "train", "train", "val", "val"), strict=True)
    ]
    config = data_in(tmp_path)
    save_meta(config.meta, videos)
    write_features(config.video_features, ((key, frames(1 if key == "one" else 70)) for key in spans))
    write_word_features(config.text_features, videos, HashedWords(TEXT_DIM))
    assert checked(tmp_path) == []
    assert used(tmp_path) == [90, 1, 2, 1, 3]  # in the order of the file, which is sorted


def test_text_in_another_encoding_names_the_file(tmp_path):
    write_tiny(tmp_path)
    path = tmp_path / FILES[0]
    path.write_bytes(path.read_text(encoding="utf-8").replace("step", "étape").encode("latin-1"))
    with pytest.raises(CootmartError, match=r"meta_all\.json: not UTF-8"):
        used(tmp_path)
    assert "not UTF-8" in checked(tmp_path)[0]
