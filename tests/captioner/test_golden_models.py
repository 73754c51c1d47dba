"""The captioners compute what the published ones compute: scores, memories, losses, gradients."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from captioner.batch import joint_mask
from captioner.config import ModelConfig
from captioner.loss import cross_entropy, smoothed_loss
from captioner.models import build_model
from captioner.models.blocks import sinusoids
from captioner.models.transformer_xl import relative_positions, relative_shift
from captioner.models.vanilla import LayerNorm
from captioner.official import load_official, our_names
from tests.captioner.golden_model import GoldenModel, variant
from tests.golden_cases import DEFAULT, cases, golden_dir
from training.errors import CootmartError

pytestmark = pytest.mark.golden
MODELS = [p for p in cases("mart", "*.json") if "variant" in json.loads(p.read_text())]


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="module", params=MODELS, ids=lambda p: p.stem)
def case(request) -> GoldenModel:
    return GoldenModel(request.param)


def test_there_is_a_case_of_every_model():
    found = {variant(json.loads(path.read_text())) for path in MODELS}
    known = {"mart", "norec", "vanilla", "xl", "xlgrad", "untied"}
    assert found == known if golden_dir("mart") == DEFAULT / "mart" else found <= known


@torch.no_grad()
def test_scores_at_labels(case):
    batch = case.batch()
    scores = case.model.scores(case.model.label_hidden(batch))
    expected = case.expected("scores")  # (T, L, V)
    start = case.config.max_v_len if case.config.is_joint else 0
    n_text = batch.text.shape[1]
    close(scores, expected[batch.label_rows // n_text, start + batch.label_rows % n_text])


@torch.no_grad()
def test_hidden_states_and_memories(case):
    batch, model = case.batch(), case.model
    if case.config.model in ("xl", "xlgrad"):
        hidden, memory = model.run(batch)
        close(model.scores(hidden), case.expected("scores"))  # padding too: the next sentence sees it
        close(hidden, case.expected("hidden"))
        for i, kept in enumerate(memory.inputs):
            close(kept, case.expected(f"mem{i}"))
    elif case.config.model == "mart":
        x, joint = model.embed(batch)
        hidden, memories = model.encoder(x, joint, batch.step_rows, None)
        close(joint.packing.unpack(hidden)[real_positions(batch)], real(case, batch, case.expected("hidden")))
        for i, after in enumerate(memories):
            close(after, case.expected(f"mem{i}"))
    elif case.config.model == "norec":
        x, joint = model.embed(batch)
        scores = model.scores(joint.packing.unpack(model.encoder(x, joint)))
        close(scores[real_positions(batch)], real(case, batch, case.expected("scores")))
    elif case.config.model == "vanilla":
        for i, states in enumerate(model.encoder(batch.video, batch.video_lengths)):
            close(states, case.expected(f"enc_layer{i}"))
    else:
        states, mask = model.encode(batch.video, batch.video_lengths)
        mask = mask[:, 0, 0]
        close(states[mask], case.expected("enc")[:, : mask.shape[1]][mask])


def real_positions(batch) -> torch.Tensor:
    """(T, L) bool."""
    return joint_mask(batch.video, batch.video_lengths, batch.text, batch.text_lengths)


def real(case: GoldenModel, batch, full: torch.Tensor) -> torch.Tensor:
    """Real positions (P, ...) of published tensors (T, Lv + Lt, ...)."""
    n_video = batch.video.shape[1] + 2
    start = case.config.max_v_len
    trimmed = torch.cat([full[:, :n_video], full[:, start : start + batch.text.shape[1]]], dim=1)
    return trimmed[real_positions(batch)]


@torch.no_grad()
def test_embeddings(case):
    if not case.config.is_joint:
        pytest.skip("separate embeddings")
    batch = case.batch()
    rows, n = case.rows()[0], batch.step_sizes[0]
    expected = case.tensors["mid/0/embeddings"][rows]
    if case.config.model in ("xl", "xlgrad"):
        close(case.model._embed(batch)[0][:n], expected)
    else:
        x, joint = case.model.embed(batch)
        mask = real_positions(batch)[:n]
        start = case.config.max_v_len
        n_video = batch.video.shape[1] + 2
        kept = torch.cat([expected[:, :n_video], expected[:, start : start + batch.text.shape[1]]], dim=1)
        close(joint.packing.unpack(x)[:n][mask], kept[mask])


def test_loss_and_gradients(case):
    case.model.zero_grad()
    loss, n_words, n_correct = case.model.loss(case.batch())
    close(loss, case.tensors["loss"])
    assert (n_words, int(n_correct)) == (case.info["n_word"], case.info["n_correct"])
    loss.backward()
    parameters = dict(case.model.named_parameters(remove_duplicate=False))
    expected = case.gradients()
    assert expected
    for name, gradient in expected.items():
        difference = (parameters[name].grad - gradient).abs().max()
        floor = 1e-5 if name.endswith("key.bias") else 1e-6  # some gradients are zero but for rounding
        assert difference <= max(2e-5 * gradient.abs().max(), floor), name


@torch.no_grad()
def test_other_loss(case):
    loss, _, _ = case.with_other_loss().loss(case.batch())
    close(loss, case.tensors["loss_alt"])


@pytest.mark.parametrize("path", cases("mart", "loss_*.json"), ids=lambda p: p.stem)
def test_loss_units(path):
    tensors = load_file(path.with_suffix(".safetensors"))
    keep = tensors["labels"] != -1
    for name in (key.split("/")[1] for key in tensors if key.startswith("loss/")):
        logits = tensors["logits"].clone().requires_grad_()
        scores, labels, smoothing = logits[keep], tensors["labels"][keep], float(name)
        if smoothing:
            loss = smoothed_loss(scores, labels, smoothing)
        else:
            loss = cross_entropy(scores, labels, torch.zeros_like(labels), 1)
        close(loss, tensors[f"loss/{name}"])
        loss.backward()
        close(logits.grad, tensors[f"grad/{name}"])


@pytest.mark.parametrize("path", cases("mart", "primitives*.safetensors"), ids=lambda p: p.stem)
def test_primitives(path):
    t = load_file(path)
    for name in t:
        kind, _, sizes = name.rpartition("_")
        if kind in ("pe_abs", "pe_vanilla"):
            close(sinusoids(*map(int, sizes.split("x"))), t[name])
        elif kind == "pe_xl":
            length, size = map(int, sizes.split("x"))
            found = relative_positions(length, size, torch.device("cpu"))
            assert any(torch.allclose(table, t[name], atol=1e-5) for table in (found, found.flip(0)))
        elif kind == "relshift_in":
            x = t[name]
            close(relative_shift(x, len(x)), t[f"relshift_out_{sizes}"])
    if "vanillaln_in" in t:
        close(LayerNorm(t["vanillaln_in"].shape[-1])(t["vanillaln_in"]).detach(), t["vanillaln_out"])


KEY_LISTS = cases("mart", "keys/*.json")


@pytest.mark.parametrize("path", KEY_LISTS, ids=lambda p: p.stem)
def test_published_keys_and_shapes(path):
    info = json.loads(path.read_text())
    official = {name: torch.empty(t["shape"], device="meta") for name, t in info["tensors"].items()}
    config = full_size(info)
    with torch.device("meta"):
        model = build_model(config)
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in our_names(official).items()} == own
    dead = sum(t.numel() for name, t in official.items() if "memory_intermediate" in name)
    assert sum(p.numel() for p in model.parameters()) + dead == info["n_parameters"]


def full_size(info: dict) -> ModelConfig:
    classes = {
        "RecursiveTransformer": "mart",
        "NonRecurTransformer": "norec",
        "MTransformer": "vanilla",
        "TransformerXL": "xl",
        "NonRecurTransformerUntied": "untied",
    }
    shapes = {name: t["shape"] for name, t in info["tensors"].items()}
    features = next(shapes[k] for k in shapes if k.endswith(("video_embeddings.0.weight", "video_embeddings.0.gamma")))
    pe = shapes.get("embeddings.position_embeddings.pe", [25])
    return ModelConfig(
        model=classes[info["cls"]],
        vocab_size=info["vocab"],
        video_feature_size=features[0],
        max_v_len=info["overrides"].get("max_v_len", pe[0] - 22),
    )


def test_wrong_key_is_named():
    path = next(p for p in MODELS if variant(json.loads(p.read_text())) == "mart")
    case = GoldenModel(path)
    state = case.group("param")
    missing = {k: v for k, v in state.items() if k != "encoder.layer.1.output.dense.bias"}
    with pytest.raises(CootmartError, match=r"encoder\.layer\.1\.output\.dense\.bias' is missing"):
        load_official(case.model, missing)
    with pytest.raises(CootmartError, match="'surplus' is unknown"):
        load_official(case.model, {**state, "surplus": torch.zeros(1)})
    with pytest.raises(CootmartError, match=r"'decoder\.bias' has shape"):
        load_official(case.model, {**state, "decoder.bias": torch.zeros(3)})
