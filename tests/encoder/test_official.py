"""Published checkpoints in and out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from cootmart.cli import main
from encoder.config import EncoderConfig, ModelConfig
from encoder.folder import load_encoder
from encoder.model import build_model
from encoder.official import export_official, import_official, load_official, networks_of, official_names, read_official
from tests.encoder.golden_model import GoldenModel
from tests.encoder.test_golden_e2e import CASES, Run
from tests.golden_cases import cases
from training import config as configuration
from training.errors import CootmartError

MODELS = [path for path in cases("coot", "*.json") if "nets" in json.loads(path.read_text(encoding="utf-8"))]
SMALL = ModelConfig(video_dim=6, text_dim=10, hidden_size=16, heads=2, ff_size=16, af_hidden=16)


def write_checkpoint(path, model=None, old=False):
    """A published file of today's layout, or of the older one."""
    state = official_names(model or build_model(SMALL))
    if old:
        renames = (("norm_input.", "input_norm."), ("input_fc.mlp.", "input_fc."))
        renames += (("pooler.pools.0.genpool", "pooler.genpool"),)
        state = [{_renamed(key, renames): value for key, value in net.items()} for net in state.values()]
    torch.save(state, path)
    return path


def _renamed(key, renames):
    for new, old in renames:
        key = key.replace(new, old) if key.startswith(new) else key
    return key


def same(a, b):
    return list(a) == list(b) and all(
        list(a[net]) == list(b[net]) and all(torch.equal(a[net][k], b[net][k]) for k in a[net]) for net in a
    )


@pytest.mark.golden
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_published_checkpoint_comes_back_exactly(tmp_path, path):
    run = Run(path)
    checkpoint = run.checkpoint
    configuration.save(EncoderConfig(model=run.model.config), tmp_path / "mini.yaml")
    arguments = ["import", str(checkpoint), "--config", str(tmp_path / "mini.yaml"), "--out", str(tmp_path / "model")]
    assert main(arguments) == 0
    assert main(["export", str(tmp_path / "model"), "--out", str(tmp_path / "back.pth")]) == 0
    published, ours = networks_of(read_official(checkpoint)), read_official(tmp_path / "back.pth")
    assert same({net: dict(state) for net, state in published.items()}, ours)


@pytest.mark.golden
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_golden_model_comes_back(path):
    golden = GoldenModel(path)
    published = golden.networks("state")
    for network, state in official_names(golden.model).items():
        assert set(published[network]) <= set(state)
        assert all(torch.equal(published[network][key], state[key]) for key in published[network])


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"context": False}, {"local_pooler": "cls"}, {"layers": 2, "local_pooler": "max"}, {"global_pooler": "af"}],
)
def test_round_trip(tmp_path, changes, old):
    config = EncoderConfig(model=replace(SMALL, **changes))
    model = build_model(config.model)
    import_official(write_checkpoint(tmp_path / "a.pth", model, old), config, tmp_path / "model")
    loaded, read = load_encoder(tmp_path / "model")
    assert read == config
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    export_official(tmp_path / "model", tmp_path / "b.pth")
    assert same(official_names(model), torch.load(tmp_path / "b.pth", weights_only=True))


def test_import_through_the_command_names_the_first_wrong_key(tmp_path, capsys):
    checkpoint = write_checkpoint(tmp_path / "a.pth")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": {**vars(SMALL), "video_dim": 7}}), encoding="utf-8")
    assert main(["import", str(checkpoint), "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "m")]) == 2
    said = capsys.readouterr().err
    assert f"{checkpoint}: net_video_local: norm_input.gain has shape (6,), expected (7,)" in said
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s["net_text_local"].pop("norm_input.bias"), "net_text_local: norm_input.bias is missing"),
        (lambda s: s["net_video_global"].update(extra=torch.ones(1)), "net_video_global: extra is unknown"),
        (lambda s: s["net_video_local"].update({"norm_input.gain": 1}), "norm_input.gain is a int"),
        (lambda s: s.pop("net_text_global"), "network 'net_text_global' is missing"),
        (lambda s: s["net_video_local"].update({"embedding.pe": torch.ones(3)}), r"embedding.pe has shape \(3,\)"),
    ],
)
def test_wrong_checkpoints(damage, message):
    state = official_names(build_model(SMALL))
    damage(state)
    with pytest.raises(CootmartError, match=message):
        load_official(build_model(SMALL), state)


@pytest.mark.parametrize("official", [[], [{}], 3, {}, [1, 2, 3, 4]])
def test_other_things_are_no_checkpoint(official):
    with pytest.raises(CootmartError, match="checkpoint: "):
        load_official(build_model(SMALL), official)


def test_unreadable_files(tmp_path):
    whole = write_checkpoint(tmp_path / "a.pth").read_bytes()
    path = tmp_path / "b.pth"
    for content in (b"", b"no checkpoint", whole[:1000], whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(CootmartError, match=r"b\.pth: not a checkpoint"):
            read_official(path)
    with pytest.raises(CootmartError, match="no such file"):
        read_official(tmp_path / "none.pth")


def test_damaged_files_give_a_clear_error_or_a_checkpoint(tmp_path):
    whole, rng, refused = write_checkpoint(tmp_path / "a.pth").read_bytes(), np.random.default_rng(0), 0
    for _ in range(100):
        content = bytearray(whole)
        for at in rng.integers(4000, size=6):  # where the names and the structure stand
            content[at] = rng.integers(256)
        (tmp_path / "b.pth").write_bytes(bytes(content))
        try:
            load_official(build_model(SMALL), read_official(tmp_path / "b.pth"), "b.pth")
        except CootmartError as error:
            refused += "b.pth: " in str(error)
    assert refused > 50


class Dangerous:
    def __reduce__(self):
        return print, ("run",)


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    torch.save({"net_video_local": Dangerous()}, tmp_path / "x.pth")
    with pytest.raises(CootmartError, match="not a checkpoint of tensors"):
        read_official(tmp_path / "x.pth")
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"), [({"network": "hse"}, "HseModel"), ({"af_layers": 2}, "model.af_layers above 1")]
)
def test_models_that_only_exist_here_are_not_exported(changes, message):
    with pytest.raises(CootmartError, match=message):
        official_names(build_model(replace(SMALL, **changes)))
