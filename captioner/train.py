"""Training of a captioner: what the shared loop needs to know about it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from captioner.batch import Batch
from captioner.caption import caption_items
from captioner.config import CaptionerConfig, DataConfig
from captioner.data import Annotation, CaptionDataset, CootFeatures, Features, read_annotations
from captioner.folder import captioner_card, save_captioner
from captioner.glove import load_glove
from captioner.models import Captioner, build_model
from captioner.submission import submission, write_submission
from captioner.video_features import VideoFeatures, read_durations, seconds_per_feature
from captioner.vocabulary import Vocabulary
from encoder.embeddings import Embeddings
from evaluation import FAST_METRICS, Scorer
from training.errors import CootmartError
from training.files import read_json
from training.loop import fit, pick_device, seed_everything
from training.optim import build_optimizer
from training.schedule import WarmupLinear

UNDECAYED = ("bias", "LayerNorm.bias", "LayerNorm.weight")


@dataclass(frozen=True)
class CaptionData:
    """Both splits with the vocabulary they are written in, and the references of the validation videos."""

    vocabulary: Vocabulary
    train: CaptionDataset
    val: CaptionDataset
    references: list[dict]
    lengths: dict[str, float]
    """of the training segments, as `DataConfig` names them"""


def open_data(config: CaptionerConfig) -> CaptionData:
    """Read everything a run needs once.

    Raises:
        CootmartError: a file is missing, or annotations and embeddings do not fit together.
    """
    data, max_t_len = config.data, config.model.max_t_len
    train = read_annotations(data.train_annotations or data.meta, None if data.train_annotations else data.train_split)
    val = read_annotations(data.val_annotations or data.meta, None if data.val_annotations else data.val_split)
    vocabulary = _vocabulary(data, train)
    train, train_features = _features(config, train, data.train_embeddings, "train")
    val, val_features = _features(config, val, data.val_embeddings, "val")
    datasets = (
        CaptionDataset.build(train, train_features, vocabulary, max_t_len, data.max_n_sen),
        CaptionDataset.build(val, val_features, vocabulary, max_t_len, data.max_n_sen_val),
    )
    return CaptionData(vocabulary, *datasets, _references(data, val), segment_lengths(train))


def segment_lengths(annotations: list[Annotation]) -> dict[str, float]:
    """Mean and standard deviation of segment lengths and mean pause between segments, seconds."""
    times = [annotation.timestamps for annotation in annotations]
    lengths = [end - start for video in times for start, end in video]
    pauses = [max(0.0, after[0] - before[1]) for video in times for before, after in itertools.pairwise(video)]
    return {
        "segment_seconds": float(np.mean(lengths)),
        "segment_deviation": float(np.std(lengths)),
        "segment_pause": float(np.mean(pauses or [0.0])),
    }


def _features(
    config: CaptionerConfig, annotations: list[Annotation], embeddings: str, mode: str
) -> tuple[list[Annotation], Features]:
    """The videos that have features, and where these come from."""
    data = config.data
    if data.features != "video":
        return annotations, CootFeatures(Embeddings.load(embeddings), data.features, mode)
    seconds = seconds_per_feature(read_durations(data.durations), data.feature_times)
    features = VideoFeatures(Path(data.video_features), seconds, config.model.max_features)
    kept = [annotation for annotation in annotations if features.available(annotation)]
    if not kept:
        raise CootmartError(f"data.video_features: {data.video_features} has files of none of the {mode} videos")
    if len(kept) < len(annotations):
        print(f"{data.video_features}: {len(annotations) - len(kept)} {mode} videos have no files", file=sys.stderr)
    return kept, features


def _vocabulary(data: DataConfig, train: list[Annotation]) -> Vocabulary:
    if data.vocabulary:
        return Vocabulary.load(data.vocabulary)
    return Vocabulary.build((s for annotation in train for s in annotation.sentences), data.min_count)


def _references(data: DataConfig, val: list[Annotation]) -> list[dict]:
    if data.val_references:
        return [read_json(path) for path in data.val_references]
    return [{annotation.name: " ".join(annotation.sentences) for annotation in val}]


class CaptionerStage:
    """Model, data and scores of one captioner run (a `training.loop.Stage`)."""

    def __init__(self, config: CaptionerConfig, data: CaptionData, device: torch.device, run: Path) -> None:
        self.config, self.device, self.run = resolve(config, data), device, run
        self.title = f"captioner {config.model.model}"
        self.vocabulary, self.val = data.vocabulary, data.val
        self.train = data.train.single_sentences() if config.batch_of == "sentences" else data.train
        self.scorer = Scorer(data.references, FAST_METRICS)
        self.model = build_model(self.config.model)
        if config.data.glove:
            _start_from_glove(self.model, self.config, self.vocabulary)
        self.model.to(device)
        self.optimizer = build_optimizer(self.model, config.optimizer, UNDECAYED)
        self.schedule = WarmupLinear(self.steps_per_epoch() * config.loop.epochs, config.warmup)

    def steps_per_epoch(self) -> int:
        return -(-len(self.train) // self.config.batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        order = np.random.default_rng((self.config.loop.seed, epoch)).permutation(len(self.train))
        return (batch.to(self.device) for batch in self.train.batches(self.config.batch_size, order))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, n_words, n_correct = self.model.loss(batch)
        return loss, {"loss_per_word": loss.detach() / n_words, "accuracy": n_correct / n_words}

    def validate(self, epoch: int) -> dict[str, float]:
        """Write the validation videos to ``captions/`` and score them; ``score`` is CIDEr-D x 100."""
        config, items = self.config, self.val.items
        texts = caption_items(self.model, self.vocabulary, items, config.decoding, config.val_batch_size)
        annotations = {item.annotation.name: item.annotation for item in items}
        said = submission(texts, annotations)  # in the order of time, which some annotations are not
        write_submission(self.run / "captions" / f"val_{epoch}.json", said)
        metrics = self.scorer.score(said).metrics
        kept = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr", "re4")
        return {"score": 100 * metrics["CIDEr"], **{name: float(metrics[name]) for name in kept}}

    def save(self, folder: Path, metrics: dict[str, float]) -> None:
        card = captioner_card(self.config, self.vocabulary, metrics)
        save_captioner(self.model, self.vocabulary, self.config, folder, card)


def resolve(config: CaptionerConfig, data: CaptionData) -> CaptionerConfig:
    """``config`` with the sizes that the data decide."""
    model = replace(config.model, vocab_size=len(data.vocabulary), video_feature_size=data.train.feature_size)
    if data.val.feature_size != data.train.feature_size:
        raise CootmartError(
            f"{config.data.val_embeddings}: features are {data.val.feature_size} wide, those of "
            f"{config.data.train_embeddings} {data.train.feature_size}; embed both with the same encoder"
        )
    return replace(config, model=model, data=replace(config.data, **data.lengths))


def _start_from_glove(model: Captioner, config: CaptionerConfig, vocabulary: Vocabulary) -> None:
    if config.model.model == "vanilla":
        raise CootmartError("data.glove: vanilla has no word vectors of its own; leave it empty")
    vectors = load_glove(config.data.glove, vocabulary, config.model.word_vec_size)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.copy_(torch.from_numpy(vectors))


def train(config: CaptionerConfig, run: Path, resume: bool = False) -> list[dict[str, float]]:
    """Train a captioner as ``config`` says, or train one further by `captioner.scst`; the best epoch is in ``run``.

    Returns:
        One dictionary an epoch, see `training.loop.fit`.

    Raises:
        CootmartError: files are missing or do not fit together, or the loss is not finite.
    """
    seed_everything(config.loop.seed)
    run, stage = Path(run), CaptionerStage
    if config.scst.start:
        from captioner.scst import ScstStage, starting_point

        config, stage = starting_point(config), ScstStage
    return fit(stage(config, open_data(config), pick_device(), run), config.loop, run, resume)
