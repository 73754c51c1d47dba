"""Captions of the test videos and their scores, read back where they have been written before."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from evaluation.significance import counts_of, score
from training.files import read_json, write_json
from training.loop import pick_device

WARM_UP = 4  # videos written before the clock starts


def scored(
    work: Workplace, row: RowConfig, seed: int, config: CaptionerConfig, folder: Path, results: Path
) -> tuple[Run, Path]:
    """The run of one seed and the file of its captions, written before its scores.

    Scores without one of the metrics are not kept: the next start tries again.

    Args:
        config: of the captioner, with its embeddings files.
        folder: its model folder.
        results: where its scores and captions are kept.
    """
    embeddings, decoding = _test_embeddings(work, row, config), decoding_options(row, config)
    test = {name: value for name, value in vars(work.test).items() if name != "videos"}  # these are for the page
    shapes = work.digests.replaced({**test, "embeddings": str(embeddings)})
    digest = short_digest([shapes, asdict(decoding), config.data.features, config.data.max_n_sen_val])
    result, captions = results / f"test-{digest}.json", results / f"test-{digest}-captions.json"
    if not (result.exists() and captions.exists()):
        found = _written(work.test, config, folder, embeddings, decoding, captions)
        found |= _scores(work, read_json(captions)) | {"train_seconds": train_seconds(folder)}
        if found["card"]["not_run"]:
            return _run(found, seed), captions
        write_json(result, found)
    return _run(read_json(result), seed), captions


def _test_embeddings(work: Workplace, row: RowConfig, config: CaptionerConfig) -> Path:
    val = Path(config.data.val_embeddings)
    if work.test.embeddings:
        return Path(work.test.embeddings)
    return val.with_name(f"embeddings_{work.test.split or config.data.val_split}.h5") if row.encoder else val


def _written(
    test: TestConfig, config: CaptionerConfig, folder: Path, embeddings: Path, decoding: DecodingOptions, out: Path
) -> dict[str, Any]:
    """Write the sentences of every test video to ``out``; how many a second, and the number of parameters."""
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
    return {"sentences_per_second": speed, "parameters": sum(p.numel() for p in model.parameters())}


def _scores(work: Workplace, said: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics, counts of each video, and the card of a submission, whose sentences are in the order of time."""
    card = work.scorer().score(said)
    texts = {video: [entry["sentence"] for entry in entries] for video, entries in said["results"].items()}
    counts, metrics, videos = counts_of(card), dict(card.metrics), list(card.per_video)
    for metric, of_video in (work.prepared.extra(texts) if work.prepared.extra else {}).items():
        counts[metric] = np.array([of_video.get(video, (0, 0)) for video in videos], np.float64)
        metrics[metric] = float(score(metric, counts[metric].sum(0)))
    known = card.to_dict() | {"per_video": {}}
    return {"metrics": metrics, "videos": videos, "counts": {m: c.tolist() for m, c in counts.items()}, "card": known}


def _run(found: dict[str, Any], seed: int) -> Run:
    counts = {metric: np.array(values, np.float64) for metric, values in found.pop("counts").items()}
    return Run(seed=seed, counts=counts, **found)
