"""Captions of many videos on many machines by Ray Data (an extra: ``pip install 'cootmart[ray]'``)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from captioner.decoding import DecodingOptions
from captioner.paragraph import Paragraph, Sentence
from cootmart.batch import TOGETHER, Outcome, caption_videos
from cootmart.pipeline import Captioner
from encoder.features.video import is_url
from training.errors import CootmartError


class Worker:
    """One process of the cluster with a captioner of its own."""

    def __init__(self, model: str, decoding: DecodingOptions | None, segments: dict[str, Any]) -> None:
        self.captioner, self.decoding, self.segments = Captioner.from_pretrained(model), decoding, segments

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list]:
        """Rows with a column ``video`` -> rows with its outcome."""
        outcomes = list(caption_videos(self.captioner, batch["video"].tolist(), self.decoding, **self.segments))
        return {
            "video": [str(outcome.video) for outcome in outcomes],
            "paragraph": [json.dumps(asdict(o.paragraph)) if o.paragraph else "" for o in outcomes],
            "duration": [outcome.duration for outcome in outcomes],
            "problem": [outcome.problem for outcome in outcomes],
        }


def caption_on_cluster(
    model: str | Path,
    videos: Sequence[str | Path],
    decoding: DecodingOptions | None = None,
    workers: int = 1,
    **segments: Any,
) -> Iterator[Outcome]:
    """As `cootmart.batch.caption_videos`, by ``workers`` processes on the machines of a Ray cluster, in any order.

    It joins the cluster that Ray finds (``RAY_ADDRESS``), or starts one on this machine. Each process takes a GPU where
    the cluster has any. The model folder, the videos, and a file of segments lie where all machines see them.

    Raises:
        CootmartError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise CootmartError("caption: --ray needs Ray Data; install it with `pip install 'cootmart[ray]'`") from None
    ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    ask = {name: _absolute(value) for name, value in segments.items()}
    by_name = {str(_absolute(video)): video for video in videos}
    rows = ray.data.from_items([{"video": name} for name in by_name]).map_batches(
        Worker,
        fn_constructor_kwargs={"model": str(Path(model).resolve()), "decoding": decoding, "segments": ask},
        batch_size=TOGETHER,
        concurrency=workers,
        num_gpus=1 if ray.cluster_resources().get("GPU") else 0,
    )
    for row in rows.iter_rows():
        paragraph = _paragraph(json.loads(row["paragraph"])) if row["paragraph"] else None
        yield Outcome(by_name[row["video"]], paragraph, row["duration"], row["problem"])


def _absolute(value: Any) -> Any:
    """A path as other machines find it, links as they are called; what is no path stays."""
    is_path = isinstance(value, Path) or (isinstance(value, str) and not is_url(value) and Path(value).exists())
    return str(Path(value).absolute()) if is_path else value


def _paragraph(values: dict[str, Any]) -> Paragraph:
    sentences = (Sentence(s["start"], s["end"], s["text"], tuple(s["alternatives"])) for s in values["sentences"])
    return Paragraph(values["video"], tuple(sentences), tuple(values["warnings"]))
