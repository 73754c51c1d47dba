"""Frame features of many video files into one HDF5 file, several videos at a time.

Every finished video lies in a folder beside the file until all are done, so that a run that was stopped goes on where
it was, and a run with more videos adds to the file.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from encoder.data.hdf5 import open_hdf5, readable
from encoder.features.backbones import load_backbone, video_features
from encoder.features.store import Hdf5Features, checked, write_features
from training.errors import CootmartError
from training.files import atomic_path, read_json, write_json
from training.memory import keep_freed_memory
from training.progress import track
from training.workers import end_with_parent

SUFFIXES = (".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")


def find_videos(folder: str | Path) -> tuple[dict[str, Path], list[Path]]:
    """Video files of ``folder`` by name without suffix, and the files that are none by their suffix.

    Raises:
        CootmartError: no such folder, no video in it, or two of the same name.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CootmartError(f"{folder}: no such folder; expected one with video files")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    videos: dict[str, Path] = {}
    for path in (path for path in files if path.suffix.lower() in SUFFIXES):
        if path.stem in videos:
            raise CootmartError(f"{path}: {videos[path.stem].name} has the same name; rename one, names are keys")
        videos[path.stem] = path
    if not videos:
        raise CootmartError(f"{folder}: no video file in this folder; expected {', '.join(SUFFIXES)}")
    return videos, [path for path in files if path.suffix.lower() not in SUFFIXES]


def extract_features(
    videos: Mapping[str, Path], backbone: str, fps: float | None, out: Path, workers: int = 1, resume: bool = False
) -> dict[str, str]:
    """Describe every video and write ``out``: one data set (T, D) a video key.

    Args:
        fps: features a second; None takes the rate of the backbone's recipe.
        workers: videos that are described at a time.
        resume: keep what an earlier run into ``out`` has finished, also where that run was stopped.

    Returns:
        What went wrong, for every key that is therefore not in the file.

    Raises:
        CootmartError: the backbone does not exist, no video could be read, or the earlier run had another recipe.
    """
    recipe = {"backbone": backbone, "fps": load_backbone(backbone).rate if fps is None else fps}
    out, parts = Path(out), Path(out).with_name(f".{Path(out).name}.parts")
    earlier = _earlier(out, parts, recipe) if resume else None
    if not resume:
        shutil.rmtree(parts, ignore_errors=True)
    write_json(parts / "recipe.json", recipe)
    finished = {unquote(path.stem) for path in parts.glob("*.npy")} | set(earlier.keys() if earlier else ())
    jobs = [(path, backbone, fps, parts / _name(key)) for key, path in videos.items() if key not in finished]
    outcomes = list(track(_described(jobs, workers), "frame features", len(jobs)))
    failures = {unquote(job[-1].stem): problem for job, problem in zip(jobs, outcomes, strict=True) if problem}
    if len(failures) == len(videos):
        raise CootmartError(f"{out}: none of {len(videos)} videos could be read; {next(iter(failures.values()))}")
    write_features(out, _join(parts, earlier), recipe)
    shutil.rmtree(parts)
    return failures


def _name(key: str) -> str:
    return f"{quote(key, safe='')}.npy"


def _earlier(out: Path, parts: Path, recipe: dict) -> Hdf5Features | None:
    """What an earlier run left in ``out``; anything made with another recipe is an error."""
    found = {}
    if next(parts.glob("*.npy"), None):
        found[parts] = read_json(parts / "recipe.json")
    if out.exists():
        with open_hdf5(out) as file, readable(out):
            found[out] = dict(file.attrs)
    for where, values in found.items():
        for name, value in recipe.items():
            if values.get(name) != value:
                raise CootmartError(
                    f"{where}: its features were made with {name} {values.get(name, 'unknown')}, now it is {value}; "
                    "delete it, or write to another file"
                )
    return Hdf5Features(out, memory=0) if out.exists() else None


def _join(parts: Path, earlier: Hdf5Features | None) -> Iterator[tuple[str, np.ndarray]]:
    fresh = {unquote(path.stem): path for path in sorted(parts.glob("*.npy"))}
    if earlier:
        kept = (key for key in earlier.keys() if key not in fresh)  # noqa: SIM118
        yield from ((key, earlier.read(key)) for key in kept)
    yield from ((key, np.load(path, allow_pickle=False)) for key, path in fresh.items())


def _described(jobs: list[tuple], workers: int) -> Iterator[str | None]:
    """What went wrong with each job, None where nothing did, in order."""
    if workers <= 1 or len(jobs) <= 1:
        yield from map(_describe, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_one_thread) as pool:
        yield from pool.imap(_describe, jobs, chunksize=4)


def _one_thread() -> None:
    import torch

    end_with_parent()
    keep_freed_memory()  # frames come and go
    torch.set_num_threads(1)


_backbone = cache(load_backbone)


def _describe(job: tuple[Path, str, float | None, Path]) -> str | None:
    path, backbone, fps, part = job
    try:
        features = video_features(path, _backbone(backbone), fps)
        checked(features, None, str(path))
    except CootmartError as error:
        return str(error)
    with atomic_path(part) as beside, beside.open("wb") as file:
        np.save(file, features)
    return None
