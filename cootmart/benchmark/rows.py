"""The rows of a benchmark: encoders and captioners, trained and scored as far as that is not done yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from captioner.config import CaptionerConfig
from captioner.folder import load_captioner
from captioner.train import train as train_captioner
from cootmart.benchmark.retrieval import recall_counts, retrieval_card
from cootmart.benchmark.scoring import scored
from cootmart.benchmark.suites import RowConfig, captioner_config, encoder_config, is_trained, row_of
from cootmart.benchmark.workplace import Workplace, require_files, train_once, train_seconds
from encoder.embed import embed_split
from encoder.embeddings import Embeddings
from encoder.folder import load_encoder
from encoder.train import train as train_encoder
from evaluation.benchmark import Row, Run
from evaluation.errors import EvaluationError
from training import config as configuration
from training.errors import CootmartError


@dataclass(frozen=True)
class RanRow:
    """A row of the table, with the run folder of each seed and the captions that were written with it."""

    row: Row
    folders: Mapping[int, Path] = field(default_factory=dict)
    captions: Mapping[int, Path] = field(default_factory=dict)


def run_row(work: Workplace, name: str) -> RanRow:
    """All seeds of a row; an error for the user ends the row, not the benchmark, and is the row's ``problem``."""
    row = row_of(work.suite, name)
    known = Row(name, published=row.published, note=row.note)
    if not (row.captioner or row.encoder):
        return RanRow(known)
    run = _captioner_run if row.captioner else _encoder_run
    runs: list[Run] = []
    folders: dict[int, Path] = {}
    captions: dict[int, Path] = {}
    problem = ""
    for seed in row.seeds:
        try:
            done, folders[seed], written = run(work, name, row, seed)
        except (CootmartError, EvaluationError) as error:
            problem = str(error)
            print(f"{name}, seed {seed}: not run, for the reason below the table", flush=True)
            break
        captions |= {seed: written} if written else {}
        runs.append(done)
        problem = problem or _not_run(done)
        scores = "  ".join(f"{m} {done.metrics[m]:.4g}" for m in work.suite.metrics if m in done.metrics)
        print(f"{name}, seed {seed}: {scores}", flush=True)
    return RanRow(replace(known, runs=runs, problem=problem, warning=_missing(runs)), folders, captions)


def _not_run(run: Run) -> str:
    """Which metrics of a run are not there, and why."""
    return "; ".join(f"{metric} did not run: {why}" for metric, why in run.card.get("not_run", {}).items())


def _missing(runs: Sequence[Run]) -> str:
    """What the scores of ``runs`` suffer from: test videos without captions."""
    counts = [run.card["counts"] for run in runs]
    most = max(counts, key=lambda count: count.get("missing", 0), default={})
    if not most.get("missing"):
        return ""
    return f"{most['missing']} of {most['videos']} videos without captions, scored as empty"


def _encoder_run(work: Workplace, name: str, row: RowConfig, seed: int) -> tuple[Run, Path, None]:
    folder, split = _encoder(work, name, row, seed), work.test.split or "val"
    embeddings = Embeddings.load(_embedded(work, row, folder, split))
    card = retrieval_card(embeddings, work.test.name or split)
    model, _ = load_encoder(folder)
    run = Run(
        seed,
        card.metrics,
        embeddings.keys,
        recall_counts(embeddings),
        sum(p.numel() for p in model.parameters()),
        train_seconds(folder),
        card=asdict(card),
    )
    return run, folder, None


def _encoder(work: Workplace, name: str, row: RowConfig, seed: int | None) -> Path:
    """Folder of the row's encoder, trained if it is not yet; ``seed`` None is the seed of its configuration."""
    if is_trained(row.encoder):
        return Path(row.encoder.format(seed=seed))
    config = encoder_config(work.suite, row, work.prepared, seed)
    require_files((config.data, ("meta", "video_features", "text_features")))
    folder = work.run_folder("encoders", config.model.network, config)
    train_once(f"{name}, encoder", train_encoder, config, folder)
    return folder


def _embedded(work: Workplace, row: RowConfig, folder: Path, split: str) -> Path:
    """The embeddings file of a split: in the encoder's run folder, or here if the encoder is from elsewhere."""
    given = is_trained(row.encoder)
    place = work.out / "encoders" / f"given-{work.digests.of(folder)}" if given else folder
    path = place / f"embeddings_{split}.h5"
    if not path.exists():
        options = work.prepared.encoder
        for changes in (work.suite.encoder, row.encoder_options):
            options = configuration.merge(options, changes)
        data = [f"data.{key}={json.dumps(value)}" for key, value in options.get("data", {}).items()]
        embed_split(folder, split, path, data)
    return path


def _captioner_run(work: Workplace, name: str, row: RowConfig, seed: int) -> tuple[Run, Path, Path]:
    given = is_trained(row.captioner)
    folder = Path(row.captioner.format(seed=seed))
    config = load_captioner(folder)[2] if given else captioner_config(work.suite, row, work.prepared, seed)
    _require_data(work, row, config, given)
    if row.encoder:
        config = _with_encoder(work, name, row, config)
    if given:
        results = work.out / "captioners" / f"given-{work.digests.of(folder)}"
    else:
        folder = results = work.run_folder("captioners", config.model.model, config)
        train_once(f"{name}, seed {seed}", train_captioner, config, folder)
    run, captions = scored(work, row, seed, config, folder, results)
    return run, folder, captions


def _require_data(work: Workplace, row: RowConfig, config: CaptionerConfig, given: bool) -> None:
    """Everything that a row reads, before anything is trained."""
    data = config.data
    if data.features == "video":
        raise CootmartError("data.features: found video, expected clip, vid, vidclip or vidclipctx: embeddings")
    names = [] if row.encoder else ["val_embeddings"]
    if not given:
        each = bool(data.train_annotations and data.val_annotations)
        names += ["train_annotations", "val_annotations"] if each else ["meta"]
        names += ["val_references", "vocabulary", "glove"] + ([] if row.encoder else ["train_embeddings"])
    require_files((data, names), (work.test, ("annotations", "references", "embeddings", "videos")))


def _with_encoder(work: Workplace, name: str, row: RowConfig, config: CaptionerConfig) -> CaptionerConfig:
    """``config`` on the embeddings of the row's encoder, which is trained once for all seeds."""
    folder, data = _encoder(work, name, row, None), config.data
    splits = (data.train_split, data.val_split, work.test.split or data.val_split)
    train, val, _ = (str(_embedded(work, row, folder, split)) for split in splits)
    reads_videos = load_encoder(folder)[1].features.backbone != "unknown"
    own = str(folder) if reads_videos else ""
    return replace(config, data=replace(data, train_embeddings=train, val_embeddings=val, encoder=own))
