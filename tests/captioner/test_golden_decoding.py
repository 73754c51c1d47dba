"""Decoding with the cache writes what the published code writes."""

from __future__ import annotations

import json

import pytest
import torch

from captioner.decoding import DecodingOptions, generate
from captioner.vocabulary import EOS, PAD
from tests.captioner.golden_model import GoldenModel, variant
from tests.golden_cases import DEFAULT, cases, golden_dir

pytestmark = pytest.mark.golden
MODELS = [p for p in cases("mart", "*.json") if "variant" in json.loads(p.read_text())]


def words(ids: torch.Tensor) -> list[list[int]]:
    """Rows of published ids as words: behind [BOS], before the first [EOS]."""
    rows = (row[1:] for row in ids.tolist())
    return [row[: row.index(EOS)] if EOS in row else row for row in rows]


def published(case: GoldenModel, kind: str) -> list[list[list[int]]]:
    """Sentences of each video."""
    group = case.group(kind)
    names = [f"{step}ids" for step in case.steps] if "ids" not in group else ["ids"]
    return [list(sentences) for sentences in zip(*(words(group[name]) for name in names), strict=True)]


def plain(paragraphs: list) -> list:
    """Without the padding tokens that an untrained model writes at the end of a row."""
    return [[[w for w in sentence if w != PAD] for sentence in video] for video in paragraphs]


@pytest.fixture(scope="module", params=MODELS, ids=lambda p: p.stem)
def case(request) -> GoldenModel:
    return GoldenModel(request.param)


def test_greedy(case):
    found = generate(case.model, case.batch(filler=True), DecodingOptions())
    assert plain(found) == plain(published(case, "greedy"))


def test_greedy_memories(case):
    if case.config.model != "mart":
        pytest.skip("no stored memories")
    ids = case.group("greedy")
    memory = None
    for step in case.steps:
        parts = case.step_input(step)
        text = ids[f"{step}ids"]
        ended = (text == EOS).cumsum(1)
        lengths = ((ended == 0) | ((ended == 1) & (text == EOS))).sum(1)
        with torch.no_grad():
            memory = case.model.remember(parts["video"], parts["video_lengths"], text, lengths, memory)
        for i, cells in enumerate(memory):
            torch.testing.assert_close(cells, ids[f"{step}mem{i}"], atol=1e-5, rtol=1e-5)


BEAMS = [(p, i) for p in MODELS for i, b in enumerate(json.loads(p.read_text()).get("beam", [])) if b["fixed"] == "ok"]


@pytest.mark.parametrize(("path", "index"), BEAMS, ids=lambda v: getattr(v, "stem", str(v)))
def test_beam(path, index):
    case = GoldenModel(path)
    info = case.info["beam"][index]
    options = DecodingOptions(
        strategy="beam",
        beam_size=info["beam_size"],
        n_best=info.get("n_best", 1),
        min_length=info["min_sen_len"],
        max_length=info["max_length"],
        length_penalty=info.get("lp", "none"),
        length_penalty_alpha=info.get("alpha", 0.0),
        no_repeat_ngram=info.get("block_ngram_repeat") or 0,
        kill_repeating_paths=True,
    )
    found = generate(case.model, case.batch(filler=True), options)
    assert found == published(case, f"beam{index}/fixed")


def test_there_are_beams():
    assert {variant(json.loads(p.read_text())) for p, _ in BEAMS} == {"mart"} or golden_dir("mart") != DEFAULT / "mart"
