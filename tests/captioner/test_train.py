"""A captioner learns, is kept whole, and goes on exactly where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.caption import caption_embeddings, caption_file
from captioner.config import CaptionerConfig, DataConfig
from captioner.data import Annotation, CootFeatures, clip_tokens, read_annotations
from captioner.folder import load_captioner, save_captioner
from captioner.models import build_model
from captioner.submission import submission
from captioner.train import train
from captioner.vocabulary import Vocabulary
from encoder.embeddings import Embeddings
from tests.captioner.tiny import MODELS, tiny_config
from tests.captioner.toy import toy_config, write_toy_data
from training import config as configuration
from training.errors import CootmartError


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    return write_toy_data(tmp_path_factory.mktemp("data"))


def colours_right(submission: dict, data: DataConfig) -> float:
    """Share of later sentences that name the colour, which only memory can know."""
    notes = {note.name: note for note in read_annotations(data.meta, "val")}
    hits = [
        said["sentence"].split()[1:2] == truth.split()[1:2]
        for name, sentences in submission["results"].items()
        for said, truth in list(zip(sentences, notes[name].sentences, strict=True))[1:]
    ]
    return sum(hits) / len(hits)


def test_mart_learns_and_remembers(data, tmp_path):
    history = train(toy_config(data), tmp_path / "mart")
    assert history[-1]["train_loss_per_word"] < 0.3 * history[0]["train_loss_per_word"]
    assert colours_right(caption_file(tmp_path / "mart", data.val_embeddings), data) > 0.9
    assert history[-1]["val_score"] > 500  # CIDEr-D x 100
    train(toy_config(data, "norec"), tmp_path / "norec")
    assert colours_right(caption_file(tmp_path / "norec", data.val_embeddings), data) < 0.5


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains(data, model, tmp_path):
    config = toy_config(data, model, epochs=4)
    if model in ("norec", "vanilla", "untied"):
        config = replace(config, batch_of="sentences", batch_size=30)
    history = train(config, tmp_path)
    assert history[-1]["train_loss_per_word"] < 0.8 * history[0]["train_loss_per_word"]
    captions = json.loads((tmp_path / "captions" / "val_3.json").read_text())
    first = captions["results"]["val0"][0]
    assert set(first) == {"sentence", "timestamp", "gt_sentence"} and first["timestamp"] == [0.0, 2.0]


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_learns(data, model, tmp_path):
    config = toy_config(data, model, epochs=2)
    history = train(replace(config, loop=replace(config.loop, bf16=True)), tmp_path)
    assert history[-1]["train_loss_per_word"] < history[0]["train_loss_per_word"]


def test_appearance_and_flow(data, tmp_path):
    notes = read_annotations(data.meta, "train")[:6] + read_annotations(data.meta, "val")[:3]
    random = np.random.default_rng(0)
    for note in notes[:-1]:  # the last video has no features and is left out
        for kind, size in (("resnet", 5), ("bn", 3)):
            np.save(tmp_path / f"{note.name}_{kind}.npy", random.standard_normal((16, size)).astype(np.float32))
    (tmp_path / "durations.csv").write_text("".join(f"{n.name},8.0,240\n" for n in notes))
    names = {note.name for note in notes}
    meta = {k: v for k, v in json.loads(Path(data.meta).read_text()).items() if k in names}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    own = {"meta": str(tmp_path / "meta.json"), "durations": str(tmp_path / "durations.csv")}
    source = DataConfig(features="video", video_features=str(tmp_path), min_count=0, **own)
    config = toy_config(source, epochs=1)
    train(replace(config, model=replace(config.model, max_v_len=5)), tmp_path / "run")
    _, _, found = load_captioner(tmp_path / "run")
    assert found.model.video_feature_size == 8
    written = json.loads((tmp_path / "run" / "captions" / "val_0.json").read_text())["results"]
    assert set(written) == {note.name for note in notes[6:-1]}


class StopError(Exception):
    """Stands for the power cut."""


def test_resume_is_exact(data, tmp_path, monkeypatch):
    config = toy_config(data, epochs=4)
    whole = train(config, tmp_path / "whole")
    from captioner import train as module

    original = module.CaptionerStage.validate

    def stop(stage, epoch):
        if epoch == 2:
            raise StopError
        return original(stage, epoch)

    monkeypatch.setattr(module.CaptionerStage, "validate", stop)
    with pytest.raises(StopError):
        train(config, tmp_path / "parts")
    monkeypatch.undo()
    resumed = train(config, tmp_path / "parts", resume=True)
    assert [r["train_loss"] for r in resumed] == [r["train_loss"] for r in whole]
    states = [torch.load(tmp_path / run / "last" / "state.pt", weights_only=True) for run in ("whole", "parts")]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name


def test_run_folder_is_whole(data, tmp_path):
    train(toy_config(data, epochs=1), tmp_path)
    model, vocabulary, config = load_captioner(tmp_path)
    assert config.model.vocab_size == len(vocabulary)
    assert config.model.video_feature_size == 8
    assert config.data.segment_seconds == pytest.approx(2.0)
    assert "CIDEr" in (tmp_path / "README.md").read_text()
    texts = caption_embeddings(model, vocabulary, config, Embeddings.load(data.val_embeddings))
    assert [len(s) for s in texts.values()] == Embeddings.load(data.val_embeddings).clip_num.tolist()
    narrow = replace(config, data=replace(config.data, features="vid"))
    with pytest.raises(CootmartError, match="`vid` are 16 wide, the captioner expects 8"):
        caption_embeddings(model, vocabulary, narrow, Embeddings.load(data.val_embeddings))


@pytest.mark.parametrize("model", MODELS)
def test_folder_round_trip(model, tmp_path):
    network = build_model(tiny_config(model))
    vocabulary = Vocabulary([f"w{i}" for i in range(23)])
    config = CaptionerConfig(model=tiny_config(model))
    save_captioner(network, vocabulary, config, tmp_path, "card")
    loaded, words, found = load_captioner(tmp_path)
    assert found == config and words.tokens == vocabulary.tokens
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_tied_weights_stay_tied(tmp_path):
    config = CaptionerConfig(model=tiny_config("mart", word_vec_size=16, share_wd_cls_weight=True))
    save_captioner(build_model(config.model), Vocabulary([f"w{i}" for i in range(23)]), config, tmp_path, "card")
    loaded, _, _ = load_captioner(tmp_path)
    assert loaded.decoder.decoder.weight is loaded.embeddings.word_embeddings.weight


def test_broken_folders(tmp_path):
    with pytest.raises(CootmartError, match=r"no config\.yaml"):
        load_captioner(tmp_path)
    config = CaptionerConfig(model=tiny_config("mart"))
    save_captioner(build_model(config.model), Vocabulary([f"w{i}" for i in range(23)]), config, tmp_path, "card")
    configuration.save(CaptionerConfig(model=tiny_config("mart", n_layers=1)), tmp_path / "config.yaml")
    with pytest.raises(CootmartError, match=r"encoder\.layer\.1.* expected nothing"):
        load_captioner(tmp_path)
    Vocabulary(["a"]).save(tmp_path / "vocabulary.json")
    with pytest.raises(CootmartError, match="8 tokens"):
        load_captioner(tmp_path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"sentences": ["a", " "], "timestamps": [[0, 1], [1, 2]]}, "sentence 1 is empty"),
        ({"sentences": ["a"], "timestamps": []}, "1 sentences and 0 timestamps"),
        ({"sentences": ["a"]}, "timestamps"),
        ({"segments": [{"text": "a", "start_sec": 0}]}, "stop_sec"),
    ],
)
def test_wrong_annotations_are_named(tmp_path, entry, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"v_x": entry}))
    with pytest.raises(CootmartError, match=rf"a\.json: v_x: .*{message}"):
        read_annotations(path)


def test_more_sentences_than_clips(data):
    note = read_annotations(data.meta, "train")[0]
    longer = replace(note, sentences=note.sentences * 4, timestamps=note.timestamps * 4)
    with pytest.raises(CootmartError, match="embeddings of"):
        CootFeatures(Embeddings.load(data.train_embeddings), "clip", "train")(longer)


def test_window_shows_the_clips_beside(data):
    embeddings = Embeddings.load(data.train_embeddings)
    name = embeddings.keys[2]
    clips = embeddings.features(name, "vidclip")
    tokens = clip_tokens(embeddings, name, "vidclip_window")
    assert len(tokens) == len(clips) and all(token.shape == (3, clips.shape[1]) for token in tokens)
    for i, (this, before, after) in enumerate(tokens):
        assert np.array_equal(this, clips[i])
        assert np.array_equal(before, clips[i - 1] if i else np.zeros_like(this))
        assert np.array_equal(after, clips[i + 1] if i + 1 < len(clips) else np.zeros_like(this))
    with pytest.raises(CootmartError, match="found 'scene'"):
        clip_tokens(embeddings, name, "scene_window")


@pytest.mark.parametrize("model", ["norec", "xl", "vanilla"])
def test_window_captioner(data, model, tmp_path):
    """What it writes in training is what its folder writes."""
    config, data = toy_config(data, model, epochs=3), replace(data, features="clip_window")
    with pytest.raises(CootmartError, match=r"model\.max_v_len: found \d, expected [35] or more"):
        replace(config, data=data)
    network = replace(config.model, max_v_len=3 if model == "vanilla" else 5)
    train(replace(config, model=network, data=data, loop=replace(config.loop, ema_decay=0.0)), tmp_path)
    written = json.loads((tmp_path / "captions" / "val_2.json").read_text())["results"]
    again = caption_file(tmp_path, data.val_embeddings)["results"]
    assert {k: [s["sentence"] for s in v] for k, v in again.items()} == {
        k: [s["sentence"] for s in v] for k, v in written.items()
    }


def test_unknown_video_and_split(data, tmp_path):
    with pytest.raises(CootmartError, match="no video of split 'tset'"):
        read_annotations(data.meta, "tset")
    (tmp_path / "a.json").write_text(json.dumps({"other": {"sentences": ["a"], "timestamps": [[0, 1]]}}))
    with pytest.raises(CootmartError, match="no embedding of video 'other'"):
        train(toy_config(replace(data, train_annotations=str(tmp_path / "a.json"))), tmp_path / "run")


def test_sentences_are_no_batches_of_recurrent_models():
    with pytest.raises(CootmartError, match="mart learns from whole paragraphs"):
        CaptionerConfig(batch_of="sentences")


def test_submission_is_sorted_by_time():
    note = Annotation("v", ("B", "A", "C"), ((5.0, 6.0), (1.0, 2.0), (7.0, 8.0)))
    content = submission({"v": ["b", "a"]}, {"v": note})
    assert content["results"]["v"] == [
        {"sentence": "a", "timestamp": [1.0, 2.0], "gt_sentence": "A"},
        {"sentence": "b", "timestamp": [5.0, 6.0], "gt_sentence": "B"},
    ]
