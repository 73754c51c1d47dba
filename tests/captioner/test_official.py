"""Checkpoints of the published captioners in and out."""

from __future__ import annotations

import argparse
import json
import sys
import types
from dataclasses import replace

import pytest
import torch

from captioner.config import CaptionerConfig, DataConfig
from captioner.folder import load_captioner, save_captioner
from captioner.models import build_model
from captioner.official import import_official, official_state, read_official
from captioner.vocabulary import Vocabulary
from cootmart.cli import main
from tests.captioner.golden_model import GoldenModel
from tests.captioner.test_golden_models import KEY_LISTS, full_size
from tests.captioner.test_golden_models import MODELS as GOLDEN_MODELS
from tests.captioner.tiny import MODELS, tiny_config
from training import config as configuration
from training.errors import CootmartError


@pytest.fixture
def config(tmp_path) -> CaptionerConfig:
    Vocabulary([f"w{i}" for i in range(23)]).save(tmp_path / "words.json")
    return CaptionerConfig(data=DataConfig(vocabulary=str(tmp_path / "words.json")))


def small(config: CaptionerConfig, model: str, **changes) -> CaptionerConfig:
    return replace(config, model=tiny_config(model, **changes))


@pytest.mark.golden
@pytest.mark.parametrize("path", KEY_LISTS, ids=lambda p: p.stem)
def test_exported_keys_and_shapes_are_the_published_ones(path):
    info = json.loads(path.read_text(encoding="utf-8"))
    with torch.device("meta"):
        state = official_state(build_model(full_size(info)))
    assert {name: list(value.shape) for name, value in state.items()} == {
        name: t["shape"] for name, t in info["tensors"].items()
    }
    assert all(str(value.dtype) == f"torch.{info['tensors'][name]['dtype']}" for name, value in state.items())


@pytest.mark.golden
@pytest.mark.parametrize("path", GOLDEN_MODELS, ids=lambda p: p.stem)
def test_every_golden_model_comes_back(path):
    golden = GoldenModel(path)
    published, found = golden.group("param"), official_state(golden.model)
    assert found.keys() == published.keys()
    for name, value in published.items():
        if "memory_intermediate" not in name:  # never used
            torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layout", ["model", "bare", "ema", "chkpt"])
@pytest.mark.parametrize("name", MODELS)
def test_round_trip_through_the_commands(tmp_path, config, monkeypatch, name, layout):
    config = small(config, name)
    model = build_model(config.model)
    content = official_state(model)
    if layout == "ema":
        content = {key: value for key, value in content.items() if not key.endswith((".pe", "one_hot", "inv_freq"))}
    if layout in ("model", "chkpt"):
        content = {"model": content}
    if layout == "chkpt":
        easydict = types.ModuleType("easydict")
        easydict.EasyDict = type("EasyDict", (dict,), {"__module__": "easydict"})
        monkeypatch.setitem(sys.modules, "easydict", easydict)
        content |= {"model_cfg": easydict.EasyDict(hidden_size=16), "opt": argparse.Namespace(lr=1e-4), "epoch": 3}
    torch.save(content, tmp_path / "a.pth")
    configuration.save(config, tmp_path / "c.yaml")
    paths = [str(tmp_path / "a.pth"), "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "folder")]
    assert main(["import", *paths]) == 0
    loaded, vocabulary, found = load_captioner(tmp_path / "folder")
    assert found == config and len(vocabulary) == 30
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())
    assert main(["export", str(tmp_path / "folder"), "--out", str(tmp_path / "b.pth")]) == 0
    back = torch.load(tmp_path / "b.pth", weights_only=True)["model"]
    expected = official_state(model)
    assert list(back) == list(expected) and all(torch.equal(back[key], expected[key]) for key in back)
    assert Vocabulary.load(tmp_path / "b.word2idx.json").tokens == vocabulary.tokens


def test_tied_weights(tmp_path, config):
    config = small(config, "mart", word_vec_size=16, share_wd_cls_weight=True)
    model = build_model(config.model)
    torch.save({"model": official_state(model)}, tmp_path / "a.pth")
    import_official(tmp_path / "a.pth", config, tmp_path / "folder")
    loaded, _, _ = load_captioner(tmp_path / "folder")
    assert loaded.decoder.decoder.weight is loaded.embeddings.word_embeddings.weight
    assert torch.equal(loaded.decoder.decoder.weight, model.decoder.decoder.weight)


@pytest.mark.parametrize(
    ("changes", "damage", "message"),
    [
        ({}, lambda s: s.pop("decoder.bias"), r"a\.pth: parameter 'decoder\.bias' is missing"),
        ({}, lambda s: s.update(surplus=torch.ones(1)), r"a\.pth: parameter 'surplus' is unknown"),
        ({"n_layers": 1}, lambda s: None, r"'encoder\.layer\.1\..*' is unknown to this configuration"),
        ({"max_t_len": 7}, lambda s: None, r"position_embeddings\.pe has shape \(14, 16\), expected \(12, 16\)"),
        ({}, lambda s: [s.pop(k) for k in list(s) if "video" in k], r"no parameter video_embeddings"),
        ({}, lambda s: s.update(word="x"), "expected the parameters of a captioner by name"),
    ],
)
def test_files_that_do_not_fit(tmp_path, config, changes, damage, message):
    state = official_state(build_model(tiny_config("mart")))
    damage(state)
    torch.save({"model": state}, tmp_path / "a.pth")
    with pytest.raises(CootmartError, match=message):
        import_official(tmp_path / "a.pth", small(config, "mart", **changes), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_other_vocabulary(tmp_path, config):
    torch.save({"model": official_state(build_model(tiny_config("mart")))}, tmp_path / "a.pth")
    Vocabulary(["a"]).save(tmp_path / "words.json")
    with pytest.raises(CootmartError, match=r"data\.vocabulary fit the file"):
        import_official(tmp_path / "a.pth", small(config, "mart"), tmp_path / "folder")
    with pytest.raises(CootmartError, match=r"data\.vocabulary: found none"):
        import_official(tmp_path / "a.pth", CaptionerConfig(model=tiny_config("mart")), tmp_path / "folder")


class Dangerous:
    def __reduce__(self):
        return print, ("run",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"model": {}, "opt": Dangerous()}, tmp_path / "x.chkpt")
    with pytest.raises(CootmartError, match=r"x\.chkpt: not a checkpoint"):
        read_official(tmp_path / "x.chkpt")
    assert capsys.readouterr().out == ""
    with pytest.raises(CootmartError, match="no such file"):
        read_official(tmp_path / "none.pth")


def test_export_needs_a_model_folder(tmp_path):
    save_captioner(
        build_model(tiny_config("mart")),
        Vocabulary([f"w{i}" for i in range(23)]),
        CaptionerConfig(model=tiny_config("mart")),
        tmp_path,
        "card",
    )
    (tmp_path / "model.safetensors").unlink()
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "b.pth")]) == 2
    assert not (tmp_path / "b.pth").exists()
