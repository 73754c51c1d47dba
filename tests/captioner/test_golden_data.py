"""Collated batches are the published ones, less the rows that stand for no sentence."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from captioner.batch import Batch
from captioner.data import CaptionDataset, CootFeatures, collate, read_annotations
from captioner.models.embeddings import video_ids
from captioner.video_features import VideoFeatures, read_durations, seconds_per_feature
from captioner.vocabulary import BOS, EOS, IGNORE, PAD, Vocabulary
from encoder.embeddings import Embeddings
from tests.golden_cases import cases, golden_dir

pytestmark = pytest.mark.golden
SOURCES = cases("mart", "data_*.json")
CASES = [(path, name) for path in SOURCES for name in json.loads(path.read_text())["cases"]]


def vocabulary_of(info: dict) -> Vocabulary:
    """The published vocabulary; where only the golden folder is there, a copy of it lies in that folder."""
    near = golden_dir("mart").parent.parent / info["vocabulary"]
    return Vocabulary.load(near if near.exists() else golden_dir("mart") / Path(info["vocabulary"]).name)


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0].stem}-{c[1]}")
def case(request, tmp_path_factory):
    path, name = request.param
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    case = info["cases"][name]
    folder = tmp_path_factory.mktemp("data")
    (folder / "annotations.json").write_text(json.dumps(info["annotations"]))
    s = case["settings"]
    dataset = CaptionDataset.build(
        read_annotations(folder / "annotations.json"),
        features(info, tensors, case, folder),
        vocabulary_of(info),
        s["max_t_len"],
        s["max_n_sen"],
    )
    single = not s["recurrent"]
    items = (dataset.single_sentences() if single else dataset).items
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


def test_decoded_text(case):
    """The published conversion of ids to text, applied to the ids of the batch."""
    info, batch, _ = case
    if "decoded" not in info:
        pytest.skip("no texts in this case")
    source = next(path for path, name in CASES if json.loads(path.read_text())["cases"][name] == info)
    vocabulary = vocabulary_of(json.loads(source.read_text()))
    texts = batch.by_video([vocabulary.decode(row) for row in batch.text.tolist()])
    for number, sentences in enumerate(info["decoded"]):
        live = [texts[i][number] for i in range(len(texts)) if number < len(texts[i])] if info["step_sizes"] else None
        assert not Counter(live or [t[0] for t in texts]) - Counter(sentences)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_vocabulary_is_read_as_it_is(path, tmp_path):
    vocabulary = vocabulary_of(json.loads(path.read_text()))
    assert vocabulary.tokens[BOS] == "[BOS]" and vocabulary.tokens[EOS] == "[EOS]"
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").index == vocabulary.index
