"""Collated batches are the published ones, less the rows that stand for no sentence."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from captioner.batch import Batch
from captioner.caption import caption_items
from captioner.config import DecodingOptions, ModelConfig
from captioner.data import CaptionDataset, CootFeatures, collate, read_annotations
from captioner.models import build_model
from captioner.models.embeddings import video_ids
from captioner.official import load_official, read_official
from captioner.video_features import VideoFeatures, read_durations, seconds_per_feature
from captioner.vocabulary import IGNORE, PAD, SPECIALS, Vocabulary
from encoder.embeddings import Embeddings
from tests.golden_cases import cases

pytestmark = pytest.mark.golden
SOURCES = cases("mart", "data_*.json")
CASES = [(path, name) for path in SOURCES for name in json.loads(path.read_text())["cases"]]


def vocabulary_of(info: dict, tensors: dict, folder: Path) -> Vocabulary:
    """The published vocabulary, as far as a case shows it: its other words are replaced by their numbers."""
    index = {}
    for name, case in info["cases"].items():
        ids = "text_ids" if case["settings"]["untied"] else "input_ids"
        for step, rows in enumerate(case["tokens"]):
            for tokens, numbers in zip(rows, tensors[f"out/{name}/{step}/{ids}"].tolist(), strict=True):
                index |= dict(zip(tokens, numbers, strict=True))
    index = {token: i for token, i in index.items() if i >= len(SPECIALS)}
    words = {i: token for token, i in index.items()}
    tokens = [*SPECIALS, *(words.get(i, f"<{i}>") for i in range(len(SPECIALS), max(words) + 1))]
    (folder / "word2idx.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    return Vocabulary.load(folder / "word2idx.json")


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0].stem}-{c[1]}")
def case(request, tmp_path_factory):
    path, name = request.param
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    case = info["cases"][name]
    folder = tmp_path_factory.mktemp("data")
    (folder / "annotations.json").write_text(json.dumps(info["annotations"]))
    s, vocabulary = case["settings"], vocabulary_of(info, tensors, folder)
    source, annotations = features(info, tensors, case, folder), read_annotations(folder / "annotations.json")
    if isinstance(source, VideoFeatures):  # as in training, videos without files are left out
        annotations = [annotation for annotation in annotations if source.available(annotation)]
    dataset = CaptionDataset.build(
        annotations,
        source,
        vocabulary,
        s["max_t_len"],
        s["max_n_sen"],
    )
    single = not s["recurrent"]
    items = (dataset.single_sentences() if single else dataset).items
    case["vocabulary"] = vocabulary
    return case, collate(items), {k.split("/", 2)[2]: v for k, v in tensors.items() if k.startswith(f"out/{name}/")}


def features(info: dict, tensors: dict, case: dict, folder: Path):
    s = case["settings"]
    if s["coot_model_name"]:
        embeddings = Embeddings(
            path="golden",
            keys=info["h5_keys"][case["mode"]],
            clip_num=np.array(info["h5_clip_num"]),
            **{name: tensors[f"src/h5/{name}"] for name in ("vid_emb", "vid_context", "clip_emb")},
        )
        return CootFeatures(embeddings, s["coot_mode"], case["mode"])
    for key, value in tensors.items():
        if key.startswith("src/npy/"):
            np.save(folder / key.split("/", 2)[2], value)
    (folder / "durations.csv").write_text(info["duration_csv"])
    rates = seconds_per_feature(read_durations(folder / "durations.csv"), info["dataset"])
    assert {k: pytest.approx(v) for k, v in case["frame_to_second"].items() if k in rates} == {
        k: v for k, v in rates.items() if k in case["frame_to_second"]
    }
    joint = not s["untied"]
    return VideoFeatures(folder, rates, s["max_v_len"] - 2 if joint else s["max_v_len"])


def rows_of(batch: Batch, step: slice) -> list[tuple[int, int]]:
    """(video in the order of the caller, row of the batch) of the sentences of a step."""
    return list(zip(batch.order, range(step.start, step.stop), strict=False))


def published_layout(batch: Batch, row: int, case: dict) -> dict[str, torch.Tensor]:
    """One row as the published tensors have it."""
    s, n_text = case["settings"], case["settings"]["max_t_len"]
    text = torch.full((n_text,), PAD)
    text[: batch.text.shape[1]] = batch.text[row]
    text_mask = torch.arange(n_text) < batch.text_lengths[row]
    labels = torch.full((n_text,), IGNORE)
    width = batch.text.shape[1]
    here = (batch.label_rows // width) == row
    labels[batch.label_rows[here] % width] = batch.labels[here]
    n, n_video = int(batch.video_lengths[row]), s["max_v_len"]
    if s["untied"]:
        video = torch.zeros(n_video, batch.video.shape[-1])
        video[:n] = batch.video[row, :n]
        mask = torch.arange(n_video) < n
        return {
            "video_feature": video,
            "video_mask": mask.float(),
            "text_ids": text,
            "text_mask": text_mask.float(),
            "text_labels": labels,
        }
    video = torch.zeros(n_video + n_text, batch.video.shape[-1])
    video[1 : n + 1] = batch.video[row, :n]
    return {
        "video_feature": video,
        "input_ids": torch.cat([video_ids(batch.video_lengths[row : row + 1], n_video - 2)[0], text]),
        "input_mask": torch.cat([torch.arange(n_video) < n + 2, text_mask]).float(),
        "input_labels": torch.cat([torch.full((n_video,), IGNORE), labels]),
        "token_type_ids": torch.tensor([0] * n_video + [1] * n_text),
    }


def test_rows_are_the_published_ones(case):
    info, batch, expected = case
    compared = 0
    for number, step in enumerate(batch.step_rows):
        for video, row in rows_of(batch, step):
            for name, found in published_layout(batch, row, info).items():
                want = torch.from_numpy(expected[f"{number}/{name}"][video])
                torch.testing.assert_close(found.to(want.dtype), want, atol=1e-6, rtol=1e-6)
                compared += 1
    assert compared >= 5 * batch.n_sentences


def test_no_row_is_filler(case):
    info, batch, expected = case
    if info["step_sizes"]:
        counts = [sum(n > step for n in info["step_sizes"]) for step in range(info["n_steps"])]
        assert list(batch.step_sizes) == counts
    live = sum((v >= 0).any(1).sum() for k, v in expected.items() if k.endswith(("input_labels", "text_labels")))
    assert batch.n_sentences == live
    assert all(a >= b for a, b in pairwise(batch.step_sizes))


def test_texts_are_the_published_ones(case):
    info, batch, _ = case
    texts = batch.by_video([info["vocabulary"].decode(row) for row in batch.text.tolist()])
    for step, published in enumerate(info["decoded"]):
        for video, text in enumerate(published):
            if step < len(texts[video]) and info["step_sizes"]:  # else a filler row
                assert texts[video][step] == text
    if not info["step_sizes"]:
        assert [sentences[0] for sentences in texts] == info["decoded"][0]


def test_vocabulary_is_written_as_it_was_read(case, tmp_path):
    case[0]["vocabulary"].save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").index == case[0]["vocabulary"].index


TOY_RUNS = cases("mart", "run_toy/README.json")


@pytest.mark.parametrize("readme", TOY_RUNS, ids=lambda p: p.parent.name)
def test_checkpoints_of_a_published_run_write_its_captions(readme, tmp_path):
    """Needs the published vocabulary beside the golden folder, so this is for the whole set of cases."""
    folder, sizes = readme.parent, json.loads(readme.read_text())["settings"]
    source = next(p for p in SOURCES if json.loads(p.read_text())["dataset"] == "youcook2")
    info, tensors = json.loads(source.read_text()), load_file(source.with_suffix(".safetensors"))
    vocabulary = Vocabulary.load(folder.parents[2] / info["vocabulary"])
    (tmp_path / "a.json").write_text(json.dumps(info["annotations"]))
    case = {"mode": "val", "settings": {"coot_model_name": "coot", "coot_mode": sizes["coot_mode"]}}
    source = features(info, tensors, case, tmp_path)
    dataset = CaptionDataset.build(read_annotations(tmp_path / "a.json"), source, vocabulary, sizes["max_t_len"], 22)
    same = ("hidden_size", "intermediate_size", "word_vec_size", "video_feature_size", "max_v_len", "max_t_len")
    config = ModelConfig(n_heads=sizes["num_attention_heads"], **{name: sizes[name] for name in same})
    (path,) = folder.glob("translations_*.json")
    results = json.loads(path.read_text())["results"]
    expected = {name: [entry["sentence"] for entry in entries] for name, entries in results.items()}
    for checkpoint in folder.glob("model*.pth"):
        model = build_model(config).eval()
        load_official(model, read_official(checkpoint))
        assert caption_items(model, vocabulary, dataset.items, DecodingOptions()) == expected
