"""Frame features of many video files into one HDF5 file, several videos at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from encoder.features.backbones import load_backbone, video_features
from training.errors import CootmartError
from training.files import atomic_path
from training.progress import track


def extract_features(
    videos: Mapping[str, Path], backbone: str, fps: float, out: Path, workers: int = 1
) -> dict[str, str]:
    """Describe ``fps`` frames a second of every video and write ``out``: one data set (T, D) a video key.

    Returns:
        What went wrong, for every key that is therefore not in the file.

    Raises:
        CootmartError: the backbone does not exist, or no video could be read.
    """
    load_backbone(backbone)  # an unknown name fails here, not in every worker
    failures: dict[str, str] = {}
    jobs = [(key, path, backbone, fps) for key, path in videos.items()]
    with atomic_path(out) as beside, h5py.File(beside, "w") as file:
        for key, features in track(_described(jobs, workers), "frame features", len(jobs)):
            if isinstance(features, str):
                failures[key] = features
            else:
                file.create_dataset(key, data=features)
        if len(failures) == len(jobs):
            raise CootmartError(f"{out}: none of {len(jobs)} videos could be read; {next(iter(failures.values()), '')}")
    return failures


def _described(jobs: list[tuple], workers: int) -> Iterator[tuple[str, np.ndarray | str]]:
    if workers <= 1:
        yield from map(_describe, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_one_thread) as pool:
        yield from pool.imap(_describe, jobs, chunksize=4)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


_backbone = cache(load_backbone)


def _describe(job: tuple[str, Path, str, float]) -> tuple[str, np.ndarray | str]:
    key, path, backbone, fps = job
    try:
        return key, video_features(path, _backbone(backbone), fps)
    except CootmartError as error:
        return key, str(error)
