"""Captions of many videos: the next ones are decoded while sentences of the last one are written."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from captioner.decoding import DecodingOptions
from captioner.paragraph import Paragraph
from cootmart.pipeline import Captioner, Watched
from encoder.features.extract import SUFFIXES
from encoder.features.video import is_url, local, name_of
from training.errors import CootmartError

AHEAD = 8
"""videos a worker may be ahead of the writer; what bounds memory"""
TOGETHER = 16
"""videos whose sentences are written at the same time, where so many are ready"""


@dataclass(frozen=True)
class Outcome:
    """What became of one video."""

    video: str | Path
    paragraph: Paragraph | None
    duration: float = 0.0
    """seconds"""
    problem: str = ""
    """why there is no paragraph"""


def caption_videos(
    captioner: Captioner,
    videos: Sequence[str | Path],
    decoding: DecodingOptions | None = None,
    workers: int = 1,
    **segments: Any,
) -> Iterator[Outcome]:
    """Caption ``videos`` in order; one that cannot be captioned does not stop the others.

    Decoding and frame features run in ``workers`` threads, at most `AHEAD` videos each ahead of the sentences, so that
    memory does not grow with the number of videos. Sentences of all videos that are ready are written together.

    Args:
        segments: ``segments``, ``count`` or ``seconds`` as `Captioner.__call__` takes them.
    """
    waiting = iter(videos)
    pool = ThreadPoolExecutor(workers)

    def start(count: int) -> list[tuple[str | Path, Future[Watched]]]:
        return [(video, pool.submit(captioner.watch, video, **segments)) for video in islice(waiting, count)]

    try:
        running = deque(start(workers * AHEAD))
        while running:
            group = [running.popleft()]
            while running and len(group) < TOGETHER and running[0][1].done():
                group.append(running.popleft())
            yield from _write_together(captioner, group, decoding)
            running += start(len(group))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _write_together(
    captioner: Captioner, group: list[tuple[str | Path, Future[Watched]]], decoding: DecodingOptions | None
) -> Iterator[Outcome]:
    """Outcomes of a few videos in order."""
    seen = [(video, _attempt(video, future.result)) for video, future in group]
    good = [watched for _, watched in seen if isinstance(watched, Watched)]
    paragraphs = iter(captioner.paragraphs(good, decoding) if good else [])
    for video, watched in seen:
        if isinstance(watched, Watched):
            yield Outcome(video, next(paragraphs), watched.duration)
        else:
            yield Outcome(video, None, problem=watched)


def _attempt(video: str | Path, watch: Callable[[], Watched]) -> Watched | str:
    """What ``watch`` gives, or what is wrong with the video."""
    try:
        return watch()
    except CootmartError as error:
        return str(error)
    except Exception as error:  # whatever one file brings about, thousands of others wait
        return f"{video}: {type(error).__name__}: {error}"


def find_all(paths: Sequence[str | Path]) -> dict[str | Path, str]:
    """Files and URLs as they are, and all video files of a folder and of the folders in it, sorted.

    Returns:
        Of each its name: the file's, behind that of its folder where that lies in the one that was asked for.

    Raises:
        CootmartError: a folder holds no video file.
    """
    found: dict[str | Path, str] = {}
    for path in map(local, paths):
        if is_url(path) or not Path(path).is_dir():
            found[path] = name_of(path)
            continue
        inside = _videos_in(Path(path))
        if not inside:
            raise CootmartError(f"{path}: no video file in this folder; expected {', '.join(SUFFIXES)}")
        found |= {file: file.relative_to(path).as_posix() for file in inside}
    return found


def _videos_in(folder: Path) -> list[Path]:
    """Video files, none of them hidden: what other systems leave beside a video is called like it."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(folder).parts))


def output_names(videos: Mapping[str | Path, str]) -> dict[str | Path, str]:
    """A file name without suffix for what is written about each video: its own, with its suffix where two are alike.

    Args:
        videos: as `find_all` gives them.

    Raises:
        CootmartError: two videos have the same name.
    """
    stems = {video: name.removesuffix(PurePosixPath(name).suffix) for video, name in videos.items()}
    count = Counter(stems.values())
    names = {video: stem if count[stem] == 1 else videos[video] for video, stem in stems.items()}
    taken: dict[str, str | Path] = {}
    for video, name in names.items():
        if not name:
            raise CootmartError(f"{video}: this URL has no file name; caption it alone, with --out FILE")
        if name in taken:
            raise CootmartError(f"{video}: has the same name as {taken[name]}; write them to different folders")
        taken[name] = video
    return names
