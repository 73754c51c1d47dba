"""Scores of the demo's captioners on the test videos: the caption metrics, and what only memory can know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cootmart.demo.probes import again_f1, hidden_accuracy, load_probes
from evaluation import Scorer
from evaluation.errors import EvaluationError
from training.files import read_json

REFERENCES = 3
PERCENT = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re1", "re2", "re3", "re4")


def score_demo(data: Path, captions: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """Scores of each system x 100, and its CIDEr-D on each video.

    Args:
        data: folder of the rendered data set.
        captions: system -> test video -> its sentences.

    Raises:
        EvaluationError: a metric could not run; the message is its own.
    """
    references = [read_json(data / f"captions_test_{i + 1}.json") for i in range(REFERENCES)]
    probes = load_probes(data)
    systems, per_video = {}, {}
    with Scorer(references, split="demo test") as scorer:
        for name, texts in captions.items():
            card = scorer.score(texts)
            if card.not_run:
                raise EvaluationError("; ".join(f"{metric} did not run: {why}" for metric, why in card.not_run.items()))
            systems[name] = {key: 100 * card.metrics[key] for key in PERCENT} | _memory(texts, probes)
            per_video[name] = {video: 100 * each["CIDEr"] for video, each in card.per_video.items()}
    return {"systems": systems, "per_video_cider": per_video}


def _memory(texts: Mapping[str, Sequence[str]], probes: Mapping[str, Any]) -> dict[str, float]:
    hidden, again = hidden_accuracy(texts, probes), again_f1(texts, probes)
    return {
        "hidden_colour": 100 * hidden.colour,
        "hidden_shape": 100 * hidden.shape,
        "hidden_sentences": hidden.count,
        "again_f1": 100 * again.f1,
    }
