"""Every metric against the published evaluation code."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.meteor import Meteor
from evaluation.scorer import Scorer
from tests.evaluation.golden_case import GoldenCase
from tests.golden_cases import cases

pytestmark = pytest.mark.golden
PATHS = cases("eval", "*/case.json")
TOLERANCE = 1e-9
NAN_GROUPS = {**{f"re{n}": "repetition" for n in range(1, 5)}, "stats_error": "statistics"}


@pytest.fixture(scope="module")
def golden() -> dict[str, GoldenCase]:
    return {path.parent.name: GoldenCase(path) for path in PATHS}


@pytest.fixture(scope="module")
def meteor(golden):
    """One process whose paraphrase table serves the references of all cases."""
    with Meteor(text for case in golden.values() for text in case.texts()) as process:
        yield process


@pytest.fixture(scope="module")
def cards(golden, meteor):
    return {
        name: Scorer(case.references, ids="official", meteor=meteor).score(case.predictions)
        for name, case in golden.items()
    }


def test_there_are_cases():
    assert PATHS


@pytest.mark.parametrize("name", [path.parent.name for path in PATHS])
def test_every_number_is_the_published_one(name, golden, cards):
    card, expected = cards[name], golden[name].metrics
    found = {**card.metrics, **card.counts}
    numbers = {key: value for key, value in expected.items() if isinstance(value, int | float)}
    assert {"Bleu_4", "METEOR", "ROUGE_L", "CIDEr"} <= numbers.keys()
    for key, value in numbers.items():
        assert found[key] == pytest.approx(value, abs=TOLERANCE, rel=0), key


@pytest.mark.parametrize("name", [path.parent.name for path in PATHS])
def test_what_the_published_code_cannot_do(name, golden, cards):
    """Where it gives nan or divides by zero we give no number and a reason; a lone full stop is an empty sentence."""
    card, expected = cards[name], golden[name].metrics
    undefined = {key for key, value in expected.items() if value is None} | ({"stats_error"} & expected.keys())
    assert set(card.not_run) == {NAN_GROUPS[key] for key in undefined}
    if "repetition_error" in expected:
        emptied = {
            video: ["" if not sentence.strip(" .") else sentence for sentence in sentences]
            for video, sentences in golden[name].predictions.sentences.items()
        }
        sane = Scorer(golden[name].references, ["repetition"], ids="official").score(emptied)
        assert all(0 <= card.metrics[f"re{n}"] <= 1 for n in range(1, 5))
        assert {key: card.metrics[key] for key in sane.metrics} == sane.metrics


@pytest.mark.parametrize("name", [path.parent.name for path in PATHS])
def test_scores_of_single_videos(name, golden, cards):
    card, expected = cards[name], golden[name].per_video
    for video, scores in expected.items():
        for key, value in scores.items():
            assert card.per_video[video][key] == pytest.approx(value, abs=TOLERANCE, rel=0), (video, key)
    assert len(card.per_video) == card.counts["videos"]
    each = [scores["CIDEr"] for scores in card.per_video.values()]
    assert np.mean(each) == pytest.approx(card.metrics["CIDEr"], abs=TOLERANCE)


def test_robust_ids_never_lose_a_video_that_the_official_rule_finds(golden, cards):
    for name, case in golden.items():
        robust = Scorer(case.references, ["Bleu"]).score(case.predictions)
        assert robust.counts["missing"] <= cards[name].counts["missing"]
