"""Predicted paragraphs in any of their forms, as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.files import json_sha256, read_json
from evaluation.tokenization import split_sentences


@dataclass(frozen=True)
class Predictions:
    """Sentences of each video in their order; ``gt_sentences`` beside them where the submission has all of them."""

    name: str
    sentences: Mapping[str, tuple[str, ...]]
    gt_sentences: Mapping[str, tuple[str | None, ...]]
    sha256: str

    @classmethod
    def of(cls, value: Any, name: str = "predictions", sha256: str = "") -> Predictions:
        """From a submission, ``{video: [sentence, ...]}`` or ``{video: paragraph}``.

        A submission has the videos in ``results``, and a sentence is text or an object with the key ``sentence``. A
        paragraph is split into sentences.

        Raises:
            EvaluationError: anything else, with the video and the number of the sentence.
        """
        if isinstance(value, Predictions):
            return value
        results = value.get("results", value) if isinstance(value, Mapping) else value
        if not isinstance(results, Mapping):
            raise EvaluationError(f"{name}: found {results!r:.80}, expected {{video: [sentence, ...]}} or a submission")
        pairs = {str(video): _pairs(entry, f"{name}: {video!r}") for video, entry in results.items()}
        sentences = {video: tuple(said for said, _ in entry) for video, entry in pairs.items()}
        truth = {video: tuple(gt for _, gt in entry) for video, entry in pairs.items()}
        return cls(name, sentences, truth, sha256 or json_sha256(sentences))

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """From a JSON file.

        Raises:
            EvaluationError: see `of`; the message names the file.
        """
        value, sha256 = read_json(path)
        return cls.of(value, str(path), sha256)


def _pairs(entry: Any, where: str) -> list[tuple[str, str | None]]:
    if isinstance(entry, str):
        return [(sentence, None) for sentence in split_sentences(entry)]
    if not isinstance(entry, list | tuple):
        raise EvaluationError(f"{where}: found {entry!r:.80}, expected a list of sentences or a paragraph")
    return [_pair(item, f"{where}, sentence {i}") for i, item in enumerate(entry)]


def _pair(item: Any, where: str) -> tuple[str, str | None]:
    if isinstance(item, str):
        return item, None
    if not isinstance(item, Mapping) or not isinstance(item.get("sentence"), str):
        raise EvaluationError(f'{where}: found {item!r:.80}, expected text or an object with the text "sentence"')
    truth = item.get("gt_sentence")
    if truth is not None and not isinstance(truth, str):
        raise EvaluationError(f"{where}: gt_sentence is {truth!r:.80}, expected text")
    return item["sentence"], truth
