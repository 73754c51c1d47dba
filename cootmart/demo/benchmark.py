"""The demo's rendered videos as data of a benchmark, with the scores that only memory can reach."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cootmart.benchmark.suites import Prepared, Suite, TestConfig
from cootmart.demo.dataset import make_dataset
from cootmart.demo.probes import again_f1, hidden_accuracy, load_probes
from encoder.data.meta import load_meta
from encoder.features.descriptor import DIM
from encoder.features.extract import extract_features
from encoder.features.text import HashedWords, splits_path, write_word_features
from evaluation.benchmark import Column
from training.errors import CootmartError
from training.files import read_json, write_json

WORKERS = 2
REFERENCES = (1, 2, 3)
FPS = 4.0
COLUMNS = (
    Column("hidden_colour", "hidden colour", 100.0, True, "hidden objects whose colour is named rightly, in %", 1),
    Column("hidden_shape", "hidden shape", 100.0, True, "hidden objects whose shape is named rightly, in %", 1),
    Column("again_f1", "again F1", 100.0, True, "F1 of saying “again” where it is due, in %", 1),
)


def prepare_demo(suite: Suite, out: Path) -> Prepared:
    """Render the videos into ``out/data`` and describe frames and words in ``out/features``, as far as not done yet.

    Raises:
        CootmartError: a rendered video cannot be read.
    """
    torch.set_num_threads(WORKERS)  # sums of floats depend on it, and the same seed shall give the same scores
    data, features, videos = out / "data", out / "features", suite.videos
    make_dataset(data, videos.train, videos.val, videos.test, videos.seed, WORKERS)
    meta = data / "meta_all.json"
    frames, words = features / "frames.h5", features / f"words_{suite.word_size}.h5"
    _describe(data, features, frames, words, suite.word_size)
    references = {split: [str(data / f"captions_{split}_{i}.json") for i in REFERENCES] for split in ("val", "test")}
    return Prepared(
        encoder={
            "model": {"video_dim": DIM, "text_dim": suite.word_size},
            "data": {"meta": str(meta), "video_features": str(frames), "text_features": str(words)},
        },
        captioner={"data": {"meta": str(meta), "val_references": references["val"]}},
        test=TestConfig("demo test", str(meta), "test", tuple(references["test"])),
        extra=partial(memory_counts, probes=load_probes(data)),
        video_file=lambda name: data / "videos" / f"{name}.mp4",
        sentences=[data / f"sentences_test_{i}.json" for i in REFERENCES],
    )


def _describe(data: Path, features: Path, frames: Path, words: Path, word_size: int) -> None:
    """Frames and words of exactly these videos: what was made of others goes first."""
    made_of = features / "made_of.json"
    wanted = read_json(data / "stamp.json") | {"fps": FPS}
    if not made_of.exists() or read_json(made_of) != wanted:
        shutil.rmtree(features, ignore_errors=True)
        write_json(made_of, wanted)
    described = load_meta(data / "meta_all.json")
    if not frames.exists():
        paths = {video.data_key: data / "videos" / f"{video.data_key}.mp4" for video in described}
        failures = extract_features(paths, "demo_descriptor", FPS, frames, WORKERS, resume=True)
        if failures:
            first = next(iter(failures.values()))
            raise CootmartError(f"{frames}: {len(failures)} rendered videos cannot be read; {first}")
    if not splits_path(words).exists():
        write_word_features(words, described, HashedWords(word_size))


def memory_counts(
    texts: Mapping[str, Sequence[str]], probes: Mapping[str, Any]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Numerator and denominator of each video for the colour and shape of hidden objects, and the F1 of "again"."""
    counts: dict[str, dict[str, tuple[float, float]]] = {column.metric: {} for column in COLUMNS}
    for video, said in texts.items():
        hidden, again = hidden_accuracy({video: said}, probes), again_f1({video: said}, probes)
        counts["hidden_colour"][video] = round(hidden.colour * hidden.count), hidden.count
        counts["hidden_shape"][video] = round(hidden.shape * hidden.count), hidden.count
        counts["again_f1"][video] = 2 * again.right, again.due + again.said
    return counts
