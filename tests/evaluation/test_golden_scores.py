"""Every metric against the published evaluation code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evaluation.card import ScoreCard
from evaluation.errors import EvaluationError
from evaluation.meteor import Meteor
from evaluation.scorer import Scorer
from tests.evaluation.golden_case import GoldenCase
from tests.golden_cases import cases

pytestmark = pytest.mark.golden
PATHS = cases("eval", "*/case.json")
NAMES = [path.parent.name for path in PATHS]
LANGUAGE = {"Bleu_4", "METEOR", "ROUGE_L", "CIDEr"}
TOLERANCE = 1e-9
PATIENCE = 3600.0  # seconds; the machine may be busy with other things, and a time-out is no wrong number
REPETITION, STATISTICS = {f"re{n}" for n in range(1, 5)}, {"stats_error"}


@pytest.fixture(scope="module")
def golden() -> dict[str, GoldenCase]:
    """Those cases that can be read; the others fail in `case`."""
    found = {}
    for path in PATHS:
        try:
            found[path.parent.name] = GoldenCase(path)
        except (EvaluationError, OSError):
            continue
    return found


@pytest.fixture(scope="module")
def meteor(golden):
    """One process whose paraphrase table serves the references of all cases."""
    with Meteor((text for case in golden.values() for text in case.texts()), PATIENCE) as process:
        yield process


@pytest.fixture(params=NAMES)
def case(request) -> GoldenCase:
    return GoldenCase(next(path for path in PATHS if path.parent.name == request.param))


@pytest.fixture(scope="module")
def score(meteor) -> Callable[[GoldenCase], ScoreCard]:
    """The card of a case, computed once."""
    known: dict[str, ScoreCard] = {}

    def card(case: GoldenCase) -> ScoreCard:
        if case.name not in known:
            known[case.name] = Scorer(case.references, ids="official", meteor=meteor).score(case.predictions)
        return known[case.name]

    return card


def test_there_are_cases():
    assert PATHS


def test_every_number_is_the_published_one(case, score):
    card = score(case)
    found = {**card.metrics, **card.counts}
    numbers = {key: value for key, value in case.metrics.items() if isinstance(value, int | float)}
    assert numbers.keys() >= LANGUAGE or any("error" in key for key in case.metrics)
    assert numbers.keys() <= found.keys(), card.not_run
    for key, value in numbers.items():
        assert found[key] == pytest.approx(value, abs=TOLERANCE, rel=0), key


def test_what_the_published_code_cannot_do(case, score):
    """Where it gives nan or divides by zero we give no number and a reason; a lone full stop is an empty sentence."""
    card, expected = score(case), case.metrics
    undefined = {key for key, value in expected.items() if value is None}
    assert ("repetition" in card.not_run) == bool(undefined & REPETITION)
    # It also fails where only some sentences have a gt_sentence: those are the statistics that we leave out.
    assert {"statistics"} & card.not_run.keys() <= ({"statistics"} if STATISTICS & expected.keys() else set())
    if STATISTICS & expected.keys() and "statistics" not in card.not_run:
        assert not any(key.startswith("gt_stat") for key in card.metrics)
    assert card.not_run.keys() <= {"repetition", "statistics"}
    if "repetition_error" in expected:
        emptied = {
            video: ["" if not sentence.strip(" .") else sentence for sentence in sentences]
            for video, sentences in case.predictions.sentences.items()
        }
        sane = Scorer(case.references, ["repetition"], ids="official").score(emptied)
        assert all(0 <= card.metrics[f"re{n}"] <= 1 for n in range(1, 5))
        assert {key: card.metrics[key] for key in sane.metrics} == sane.metrics


def test_scores_of_single_videos(case, score):
    card = score(case)
    for video, scores in case.per_video.items():
        found = card.per_video[video if video in card.per_video else f"v_{video}"]  # the names as scored, or as filed
        for key, value in scores.items():
            wanted = np.nan if value is None else value
            assert found[key] == pytest.approx(wanted, abs=TOLERANCE, rel=0, nan_ok=True), (video, key)
    assert len(card.per_video) == card.counts["videos"]
    each = [scores["CIDEr"] for scores in card.per_video.values()]
    assert np.mean(each) == pytest.approx(card.metrics["CIDEr"], abs=TOLERANCE)


def test_robust_ids_never_lose_a_video_that_the_official_rule_finds(case, score):
    robust = Scorer(case.references, ["Bleu"]).score(case.predictions)
    assert robust.counts["missing"] <= score(case).counts["missing"]
