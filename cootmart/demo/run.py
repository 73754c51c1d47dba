"""The demo: every step from rendered video files to a scored, illustrated report, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from captioner.caption import caption_embeddings
from captioner.data import read_annotations
from captioner.folder import load_captioner
from captioner.submission import submission, write_submission
from captioner.train import train as train_captioner
from cootmart.demo.config import DemoConfig, load_demo_config
from cootmart.demo.dataset import make_dataset
from cootmart.demo.scoring import score_demo
from cootmart.demo.show import write_demo_report
from encoder.data.meta import load_meta
from encoder.embed import embed_split
from encoder.embeddings import Embeddings
from encoder.features.extract import extract_features
from encoder.features.text import HashedWords, write_word_features
from encoder.train import train as train_encoder
from training.errors import CootmartError
from training.files import write_json

SPLITS = ("train", "val", "test")
WORKERS = 2


class Steps:
    """Announces each step and keeps how long it took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        print(f"\n{len(self.seconds) + 1}. {name}", flush=True)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)


def run_demo(out: Path, config_path: Path | None = None, overrides: Iterable[str] = (), seed: int = 0) -> dict:
    """Run everything into folder ``out`` and return what ``out/scores.json`` holds."""
    config = load_demo_config(config_path, overrides, out, seed)
    steps, data, features = Steps(), out / "data", out / "features"
    torch.set_num_threads(WORKERS)  # sums of floats depend on it, and the same seed shall give the same scores
    videos = config.videos
    with steps.step("Render the videos"):
        make_dataset(data, videos.train, videos.val, videos.test, videos.seed, WORKERS)
    with steps.step("Decode the videos and describe their frames"):
        _describe_frames(config, data)
    with steps.step("Describe the words"):
        write_word_features(features / "words.h5", load_meta(data / "meta_all.json"), HashedWords(config.word_size))
    with steps.step("Train the encoder"):
        train_encoder(config.encoder, out / "encoder")
    with steps.step("Embed all videos"):
        retrieval = {s: embed_split(out / "encoder", s, features / f"embeddings_{s}.h5") for s in SPLITS}
    systems = config.systems()
    for name, captioner in systems.items():
        with steps.step(f"Train the captioner: {name}"):
            train_captioner(captioner, out / folder_of(name))
    with steps.step("Write the paragraphs of the test videos"):
        captions = {name: _caption(out / folder_of(name), out) for name in systems}
    with steps.step("Score them"):
        scores = score_demo(data, captions)
    scores |= {
        "retrieval": retrieval["test"] | {"clips": sum(map(len, captions[next(iter(systems))].values()))},
        "videos": {"train": videos.train, "val": videos.val, "test": videos.test},
        "run_folders": {name: folder_of(name) for name in systems},
        "seed": seed,
        "seconds": steps.seconds,
    }
    write_json(out / "scores.json", scores)
    write_demo_report(out, scores, captions)
    _say_where(out, data, scores)
    return scores


def folder_of(system: str) -> str:
    """Name of the run folder of a captioner."""
    return system.lower().replace(" ", "_")


def _describe_frames(config: DemoConfig, data: Path) -> None:
    paths = {v.data_key: data / "videos" / f"{v.data_key}.mp4" for v in load_meta(data / "meta_all.json")}
    recipe, target = config.encoder.features, Path(config.encoder.data.video_features)
    failures = extract_features(paths, recipe.backbone, recipe.fps, target, WORKERS)
    if failures:
        raise CootmartError(
            f"{target}: {len(failures)} rendered videos cannot be read; {next(iter(failures.values()))}"
        )


def _caption(model_folder: Path, out: Path) -> dict[str, list[str]]:
    model, vocabulary, config = load_captioner(model_folder)
    texts = caption_embeddings(model, vocabulary, config, Embeddings.load(out / "features" / "embeddings_test.h5"))
    annotations = {a.name: a for a in read_annotations(out / "data" / "meta_all.json", "test")}
    write_submission(model_folder / "captions" / "test.json", submission(texts, annotations))
    return texts


def _say_where(out: Path, data: Path, scores: dict) -> None:
    main = next(iter(scores["run_folders"].values()))
    print(f"\nreport    {out / 'report.html'}\nscores    {out / 'scores.json'}\nmodel     {out / main}")
    print(f"try       cootmart caption {data / 'videos' / 'test_0000.mp4'} --model {out / main}")
