"""The demo data set on disk: video files, annotations in the official format, references and probes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from cootmart.demo.language import tell
from cootmart.demo.probes import truth_of
from cootmart.demo.render import FPS, REST, segments, write_video
from cootmart.demo.world import Story, make_story
from training.errors import CootmartError
from training.files import read_json, write_json
from training.memory import keep_freed_memory
from training.progress import Progress
from training.workers import end_with_parent

VERSION = 1
"""of everything that shapes the data; raise it when any of it changes, and folders are made anew"""
SPLITS = ("train", "val", "test")
REFERENCES = 3
STAMP = "stamp.json"
VIDEOS_AT_ONCE = 8


@dataclass(frozen=True)
class Item:
    """One video still to be made: its number within its split decides all of it, together with the seed."""

    split: str
    number: int

    @property
    def key(self) -> str:
        return f"{self.split}_{self.number:04d}"


def make_dataset(
    folder: str | Path,
    n_train: int = 1500,
    n_val: int = 200,
    n_test: int = 200,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Render the demo data set into ``folder``, unless it is there already, and return that folder.

    It then holds ``videos/<key>.mp4`` (keys ``train_0000``, ``val_0000``, ``test_0000``...), ``meta_all.json`` (the
    official annotation format, with the first reference), ``captions_{val,test}_{1,2,3}.json`` ({key: paragraph}),
    ``sentences_{val,test}_{1,2,3}.json`` ({key: [sentence, ...]}), ``probes.json`` and ``stamp.json``.
    The result depends on the numbers of videos and the seed alone, not on ``workers``. Everything is made beside
    ``folder`` and renamed at the end: it is whole or absent.

    Raises:
        CootmartError: ``folder`` holds something that is no demo data set.
    """
    folder = Path(folder)
    counts = dict(zip(SPLITS, (n_train, n_val, n_test), strict=True))
    stamp = {"version": VERSION, "seed": seed, "videos": counts}
    items = [Item(split, number) for split in SPLITS for number in range(counts[split])]
    if _is_complete(folder, stamp, items):
        return folder
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        (beside / "videos").mkdir(parents=True)
        _write_videos(beside, items, seed, workers, progress)
        _write_annotations(beside, items, seed)
        write_json(beside / STAMP, stamp)
        _replace(folder, beside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def story_of(item: Item, seed: int) -> Story:
    """The story of one video."""
    return make_story(_rng(item, seed, 0))


def paragraphs_of(item: Item, seed: int) -> list[list[str]]:
    """Three tellings of one video, no two alike -> 3 lists of one sentence an event."""
    story = story_of(item, seed)
    rng = _rng(item, seed, 1)
    told: list[list[str]] = []
    while len(told) < REFERENCES:
        sentences = tell(story, rng)
        if sentences not in told:
            told.append(sentences)
    return told


def _rng(item: Item, seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS.index(item.split), item.number, stream])


def _is_complete(folder: Path, stamp: dict[str, Any], items: list[Item]) -> bool:
    """Whether ``folder`` is the wanted data set; refuse to touch a folder that is something else."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    if not (folder / STAMP).exists():
        raise CootmartError(
            f"{folder}: found files but no {STAMP}, so this is no demo data set; name a new or an empty folder"
        )
    files = {path.name for path in folder.glob("videos/*.mp4")}
    return read_json(folder / STAMP) == stamp and files == {f"{item.key}.mp4" for item in items}


def _replace(folder: Path, beside: Path) -> None:
    """Put ``beside`` in the place of ``folder``; what was there goes only then."""
    old = beside.with_suffix(".old")
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_videos(folder: Path, items: list[Item], seed: int, workers: int, progress: bool) -> None:
    parts = [items[start : start + VIDEOS_AT_ONCE] for start in range(0, len(items), VIDEOS_AT_ONCE)]
    render = partial(_render, folder=folder, seed=seed)
    if not progress:
        for _ in _mapped(render, parts, workers):
            pass
        return
    with Progress("rendering videos", total=len(items)) as bar:
        for count in _mapped(render, parts, workers):
            bar.advance(count)


def _mapped(render: partial, parts: list[list[Item]], workers: int) -> Iterator[int]:
    if workers < 2 or len(parts) < 2:
        yield from map(render, parts)
        return
    # "spawn": a fork would copy the locks of threads that torch may already have started
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        yield from pool.map(render, parts)


def _start_worker() -> None:
    end_with_parent()
    keep_freed_memory()  # frames come and go


def _render(items: list[Item], folder: Path, seed: int) -> int:
    for item in items:
        write_video(story_of(item, seed), folder / "videos" / f"{item.key}.mp4")
    return len(items)


def _write_annotations(folder: Path, items: list[Item], seed: int) -> None:
    told = {item: paragraphs_of(item, seed) for item in items}
    meta = {item.key: _meta(item, seed, told[item][0]) for item in items}
    write_json(folder / "meta_all.json", dict(sorted(meta.items())))
    held_out = [item for item in items if item.split != "train"]
    write_json(folder / "probes.json", {item.key: truth_of(story_of(item, seed)) for item in held_out})
    for split in SPLITS[1:]:
        for number in range(REFERENCES):
            lists = {item.key: told[item][number] for item in items if item.split == split}
            write_json(folder / f"sentences_{split}_{number + 1}.json", lists)
            paragraphs = {key: " ".join(sentences) for key, sentences in lists.items()}
            write_json(folder / f"captions_{split}_{number + 1}.json", paragraphs)


def _meta(item: Item, seed: int, sentences: list[str]) -> dict[str, Any]:
    spans = segments(story_of(item, seed))
    told = zip(sentences, spans, strict=True)
    return {
        "data_key": item.key,
        "duration_sec": spans[-1][1] + REST / FPS,
        "split": item.split,
        "segments": [{"text": text, "start_sec": start, "stop_sec": stop} for text, (start, stop) in told],
    }
