"""The page of a benchmark: what `evaluation.benchmark_report` shows, gathered from the run folders."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

import cootmart
from cootmart.benchmark.rows import RanRow
from cootmart.benchmark.workplace import Workplace
from encoder.features.video import read_frames
from evaluation.benchmark import BenchmarkTable
from evaluation.benchmark_report import build_report, pick_videos
from evaluation.report import write_report
from evaluation.report_curves import read_metrics
from evaluation.report_data import Curve, Sample, SampleClip
from training.errors import CootmartError
from training.files import read_json

FRAMES_A_CLIP = 4
FPS, MAX_FRAMES = 4.0, 1000  # how densely a video is looked at, and at most how often
MIN_SIDE = 126  # pixels
CURVES = {"loss of training": "train_loss", "validation score": "val_score"}


def write_page(path: Path, table: BenchmarkTable, ran: Sequence[RanRow], work: Workplace, command: str) -> None:
    """Write the page; of every row the first seed is shown where only one can be."""
    per_video = {r.row.name: _cider(r) for r in ran if r.captions}
    report = build_report(
        table,
        command=command,
        samples=_samples(table.compare_with, ran, per_video, work),
        per_video=per_video,
        curves=_curves(ran),
        environment=_environment(ran),
    )
    write_report(path, report)


def _cider(ran: RanRow) -> dict[str, float]:
    """CIDEr-D x 100 of each video."""
    run = ran.row.runs[0]
    return dict(zip(run.videos, (100 * run.counts["CIDEr"][:, 0]).tolist(), strict=True))


def _samples(main: str, ran: Sequence[RanRow], per_video: Mapping[str, Mapping], work: Workplace) -> list[Sample]:
    """The best, worst and some random videos of the row ``main``, with every row's sentences."""
    said = {r.row.name: read_json(next(iter(r.captions.values())))["results"] for r in ran if r.captions}
    if not said:
        return []
    main = main if main in said else next(iter(said))
    told = [read_json(path) for path in work.prepared.sentences]
    samples = []
    for video, tag in pick_videos(per_video[main]).items():
        if video not in said[main]:
            continue
        order = [main, *(name for name in said if name != main)]
        scores = {name: per_video[name][video] for name in order}
        entries = {name: said[name][video] for name in order}
        frames = _frames(video, max(entry["timestamp"][1] for entry in entries[main]), work)
        samples.append(Sample(video, _clips(video, main, entries, told, frames), scores, tag))
    return samples


def _frames(video: str, seconds: float, work: Workplace) -> list[tuple[float, np.ndarray]]:
    """(time in seconds, frame) of a video; none where no file of it is known or it cannot be read."""
    own = work.prepared.video_file
    path, size = (own(video), None) if own else (_found(video, work.test.videos), MIN_SIDE)
    try:
        return list(read_frames(path, min(FPS, MAX_FRAMES / max(seconds, 1.0)), size)) if path else []
    except CootmartError as error:
        print(f"no frames on the page: {error}", file=sys.stderr, flush=True)
        return []


def _found(video: str, folder: str) -> Path | None:
    """The file of a video in ``folder``, with or without the ``v_`` before its name."""
    names = dict.fromkeys([video, video.removeprefix("v_"), f"v_{video}"]) if folder else ()
    return next((path for name in names for path in sorted(Path(folder).glob(f"{escape(name)}.*"))), None)


def _clips(video: str, main: str, entries: Mapping[str, list[dict]], told: Sequence, frames: Sequence) -> list:
    clips = []
    for i, entry in enumerate(entries[main]):
        start, stop = entry["timestamp"]
        shown = _few([frame for time, frame in frames if start <= time < stop])
        texts = {name: said[i]["sentence"] for name, said in entries.items() if i < len(said)}
        references = list(dict.fromkeys([entry["gt_sentence"], *(sentences[video][i] for sentences in told)]))
        clips.append(SampleClip(start, stop, shown, texts, references))
    return clips


def _few(frames: list[np.ndarray]) -> list[np.ndarray]:
    places = np.linspace(0, len(frames) - 1, FRAMES_A_CLIP).round().astype(int) if frames else np.array([], int)
    return [frames[i] for i in sorted(set(places.tolist()))]


def _curves(ran: Sequence[RanRow]) -> list[Curve]:
    """One chart a quantity with a line a row."""
    metrics = {r.row.name: next(iter(r.folders.values())) / "metrics.jsonl" for r in ran if r.row.runs}
    records = {name: read_metrics(path) for name, path in metrics.items() if path.exists()}
    curves = []
    for label, key in CURVES.items():
        series = {name: [(r["epoch"] + 1, r[key]) for r in lines if key in r] for name, lines in records.items()}
        series = {name: points for name, points in series.items() if points}
        curves += [Curve(label.capitalize(), "epoch", label, series)] if series else []
    return curves


def _environment(ran: Sequence[RanRow]) -> list[tuple[str, str]]:
    import torch

    from training.loop import pick_device

    card: Mapping[str, Any] = next((run.card for r in ran for run in r.row.runs), {})
    return [
        ("cootmart", cootmart.__version__),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("device", str(pick_device())),
        ("threads", str(torch.get_num_threads())),
        ("processors", str(os.cpu_count())),
        *[(name, text) for name, text in card.get("versions", {}).items() if name != "cootmart"],
        *([("split", str(card["split"]))] if card else []),
    ]
