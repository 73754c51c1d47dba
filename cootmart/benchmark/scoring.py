"""Captions of the test videos and their scores, read back where they have been written before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from captioner.caption import caption_items
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.data import CaptionDataset, CootFeatures, read_annotations
from captioner.folder import load_captioner
from captioner.submission import submission, write_submission
from cootmart.benchmark.digests import short_digest
from cootmart.benchmark.suites import RowConfig, TestConfig, decoding_options
from cootmart.benchmark.workplace import Workplace, train_seconds
from encoder.embeddings import Embeddings
from evaluation.benchmark import Run
from evaluation.errors import EvaluationError
from evaluation.significance import counts_of, score
from training.files import read_json, write_json
from training.loop import pick_device

WARM_UP = 4  # videos written before the clock starts


def scored(
    work: Workplace, row: RowConfig, seed: int, config: CaptionerConfig, folder: Path, results: Path
) -> tuple[Run, Path]:
    """The run of one seed and the file of its captions, written before its scores.

    Args:
        config: of the captioner, with its embeddings files.
        folder: its model folder.
        results: where its scores and captions are kept.
    """
    embeddings, decoding = _test_embeddings(work, row, config), decoding_options(row, config)
    shapes = work.digests.replaced({**vars(work.test), "embeddings": str(embeddings)})
    digest = short_digest([shapes, asdict(decoding), config.data.features, config.data.max_n_sen_val])
    result, captions = results / f"test-{digest}.json", results / f"test-{digest}-captions.json"
    if not (result.exists() and captions.exists()):
        found = _written(work.test, config, folder, embeddings, decoding, captions)
        texts = found.pop("texts")
        write_json(result, found | _scores(work, texts) | {"train_seconds": train_seconds(folder)})
    return _read_run(result, seed), captions


def _test_embeddings(work: Workplace, row: RowConfig, config: CaptionerConfig) -> Path:
    val = Path(config.data.val_embeddings)
    if work.test.embeddings:
        return Path(work.test.embeddings)
    return val.with_name(f"embeddings_{work.test.split or config.data.val_split}.h5") if row.encoder else val


def _written(
    test: TestConfig, config: CaptionerConfig, folder: Path, embeddings: Path, decoding: DecodingOptions, out: Path
) -> dict[str, Any]:
    """Sentences of every test video, how many are written a second, and the number of parameters."""
    model, vocabulary, _ = load_captioner(folder, pick_device())
    annotations = read_annotations(test.annotations, test.split or None)
    features = CootFeatures(Embeddings.load(embeddings), config.data.features)
    data = CaptionDataset.build(annotations, features, vocabulary, config.model.max_t_len, config.data.max_n_sen_val)
    caption_items(model, vocabulary, data.items[:WARM_UP], decoding, config.val_batch_size)
    started = time.perf_counter()
    texts = caption_items(model, vocabulary, data.items, decoding, config.val_batch_size)
    seconds = time.perf_counter() - started
    write_submission(out, submission(texts, {annotation.name: annotation for annotation in annotations}))
    speed = sum(map(len, texts.values())) / seconds
    return {"texts": texts, "sentences_per_second": speed, "parameters": sum(p.numel() for p in model.parameters())}


def _scores(work: Workplace, texts: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Metrics, counts of each video, and the card.

    Raises:
        EvaluationError: a metric could not run.
    """
    card = work.scorer().score(texts)
    if card.not_run:
        raise EvaluationError("; ".join(f"{metric} did not run: {why}" for metric, why in card.not_run.items()))
    counts, metrics, videos = counts_of(card), dict(card.metrics), list(card.per_video)
    for metric, of_video in (work.prepared.extra(texts) if work.prepared.extra else {}).items():
        counts[metric] = np.array([of_video.get(video, (0, 0)) for video in videos], np.float64)
        metrics[metric] = float(score(metric, counts[metric].sum(0)))
    known = card.to_dict() | {"per_video": {}}
    return {"metrics": metrics, "videos": videos, "counts": {m: c.tolist() for m, c in counts.items()}, "card": known}


def _read_run(path: Path, seed: int) -> Run:
    found = read_json(path)
    counts = {metric: np.array(values, np.float64) for metric, values in found.pop("counts").items()}
    return Run(seed=seed, counts=counts, **found)
