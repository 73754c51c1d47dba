"""The encoder computes what the published one computes: embeddings, loss terms, gradients."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from encoder import losses
from encoder.config import ModelConfig
from encoder.layers import position_table
from encoder.model import CootModel
from encoder.official import official_names
from tests.encoder.golden_model import GoldenModel
from tests.golden_cases import cases, golden_dir

pytestmark = pytest.mark.golden
MODELS = [p for p in cases("coot", "*.json") if "local_pool" in json.loads(p.read_text())]
OUTPUTS = {
    "vid_emb": lambda o: o.video.high,
    "clip_emb": lambda o: o.video.low,
    "vid_context": lambda o: o.video.context,
    "par_emb": lambda o: o.text.high,
    "sent_emb": lambda o: o.text.low,
    "par_context": lambda o: o.text.context,
}
LOSSES = {
    "align_high(vid,par)": ("high", losses.contrastive),
    "align_low(clip,sent)": ("low", losses.contrastive),
    "align_context(vid_ctx,par_ctx)": ("context", losses.contrastive),
    "cluster_high": ("high", losses.cluster),
    "cluster_low": ("low", losses.cluster),
    "cluster_context": ("context", losses.cluster),
}


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="module", params=MODELS, ids=lambda p: p.stem)
def case(request) -> GoldenModel:
    return GoldenModel(request.param)


def test_there_are_cases():
    assert MODELS, f"no golden encoder case in {golden_dir('coot')}"
    assert cases("coot", "loss_units*.json"), "no golden loss"


def test_embeddings(case):
    with torch.no_grad():
        output = case.model(case.batch())
    for name, pick in OUTPUTS.items():
        close(pick(output), case.tensors[f"out/{name}"])


def test_loss_terms(case):
    with torch.no_grad():
        output = case.model(case.batch())
    margin = case.info["contrastive_cfg"]["margin"]
    for name, (level, function) in LOSSES.items():
        found = function(getattr(output.video, level), getattr(output.text, level), margin)
        close(found, torch.tensor(case.info["losses"][name]))


def test_total_loss_and_gradients(case):
    total, parts = losses.coot_loss(case.model(case.batch()), case.loss_config(), losses.mean_position)
    close(total, torch.tensor(case.info["total_loss_cmc_mean"]))
    close(parts["cycle"], torch.tensor(case.info["cmc"]["weighted_mean"]))
    check_gradients(case, total, "grad")


def test_sampled_cycle_gradients(case):
    if "cmc/sampled_idx_clip" not in case.tensors or not case.networks("grad_sampled"):
        pytest.skip("case without sampled gradients")
    draws = iter([case.tensors["cmc/sampled_idx_clip"], case.tensors["cmc/sampled_idx_sent"]])

    def drawn(loss, mask):
        return loss.gather(1, next(draws)[:, None]).mean()

    total, _ = losses.coot_loss(case.model(case.batch()), case.loss_config(), drawn)
    close(total, torch.tensor(case.info["total_loss_cmc_sampled"]))
    check_gradients(case, total, "grad_sampled")


def check_gradients(case: GoldenModel, total: torch.Tensor, kind: str) -> None:
    case.model.zero_grad()
    total.backward()
    expected = case.gradients(kind)
    parameters = dict(case.model.named_parameters())
    assert expected, f"no {kind} in the case"
    for name, gradient in expected.items():
        difference = (parameters[name].grad - gradient).abs().max()
        # that of a key bias, or of what is added before a softmax, is zero but for rounding: hence the absolute floor
        assert difference <= max(2e-5 * gradient.abs().max(), 3e-8), name


def test_soft_neighbours(case):
    with torch.no_grad():
        output = case.model(case.batch())
    pad = lambda x: losses.Ragged(x, output.clip_num).padded()  # noqa: E731
    (c, c_mask), (s, s_mask) = pad(output.video.low), pad(output.text.low)
    expected = case.tensors["cmc/alpha_clip2sent"]
    found = losses.soft_neighbours(c, s, c_mask[:, :, None] & s_mask[:, None])
    close(found[c_mask], expected[c_mask])
    close(losses.cycle_loss(c, s, c_mask, s_mask), case.tensors["cmc/clip_pos_loss"], 5e-5)
    close(losses.cycle_loss(s, c, s_mask, c_mask), case.tensors["cmc/sent_pos_loss"], 5e-5)


@pytest.mark.parametrize("path", cases("coot", "loss_units*.json"), ids=lambda p: p.stem)
def test_contrastive_units(path):
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    assert info["contrastive"]
    for row in info["contrastive"]:
        x, y = (tensors[f"contr{row['case']}/{side}"].clone().requires_grad_() for side in "ab")
        loss = losses.contrastive(x, y, row["margin"])
        close(loss, torch.tensor(row["default"]), 5e-5)
        close(losses.cluster(x, y, row["margin"]), torch.tensor(row["cluster"]), 5e-5)
        close(losses.contrastive(x, x, row["margin"]), torch.tensor(row["self_a"]), 5e-5)
        expected = tensors.get(f"contr{row['case']}/grad_a_m{row['margin']}")
        if expected is not None:
            unit = torch.nn.functional.normalize(x.detach()).requires_grad_()  # stored for normalised rows
            close(
                tangent(torch.autograd.grad(losses.contrastive(unit, y, row["margin"]), unit)[0], unit),
                tangent(expected, unit),
            )


def tangent(gradient: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
    """The part of a gradient that normalising lets through."""
    return gradient - (gradient * unit).sum(1, keepdim=True) * unit


@pytest.mark.parametrize("path", cases("coot", "loss_units*.json"), ids=lambda p: p.stem)
def test_cycle_units(path):
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    assert info["cmc"]
    for row in info["cmc"]:
        part = f"cmc{row['case']}"
        clips, sentences = (tensors[f"{part}/{m}_emb"].clone().requires_grad_() for m in ("clip", "sent"))
        c_mask, s_mask = (
            torch.arange(x.shape[1]) < tensors[f"{part}/{m}_num"][:, None]
            for x, m in ((clips, "clip"), (sentences, "sent"))
        )
        clip_cycle = losses.mean_position(losses.cycle_loss(clips, sentences, c_mask, s_mask), c_mask)
        sent_cycle = losses.mean_position(losses.cycle_loss(sentences, clips, s_mask, c_mask), s_mask)
        close(clip_cycle, torch.tensor(row["clip_cycle_mean"]), 5e-5)
        close(sent_cycle, torch.tensor(row["sent_cycle_mean"]), 5e-5)
        for x, name in ((clips, "grad_clip"), (sentences, "grad_sent")):
            expected = tensors[f"{part}/{name}"]
            found = torch.autograd.grad(clip_cycle + sent_cycle, x, retain_graph=True)[0]
            assert (found - expected).abs().max() <= 5e-5 * expected.abs().max().clamp(min=1e-3)


def test_position_table():
    files = [load_file(path) for path in cases("coot", "positional_encoding*.safetensors")]
    assert files
    for name, expected in (item for file in files for item in file.items()):  # pe_<columns>_{full, first<n>, last}
        rows = 1000 if name.endswith(("full", "last")) else len(expected)
        close(position_table(rows, expected.shape[1])[-len(expected) :], expected, 1e-6)


def published_key_lists() -> dict[int, dict]:
    """Width of a frame feature -> {network: {official key: [shape, dtype]}}."""
    tables = []
    for path in cases("coot", "full_*_state_keys.json"):
        content = json.loads(path.read_text())
        tables += [content["state"]] if "state" in content else [part["state"] for part in content.values()]
    return {table["net_video_local"]["norm_input.gain"][0][0]: table for table in tables}


@pytest.mark.parametrize(("video_dim", "table"), published_key_lists().items())
def test_published_keys_and_shapes(video_dim, table):
    with torch.device("meta"):
        state = official_names(CootModel(ModelConfig(video_dim=video_dim)))
    for net, keys in table.items():
        assert {k: list(v.shape) for k, v in state[net].items()} == {k: shape for k, (shape, *_) in keys.items()}


@pytest.mark.parametrize(("video_dim", "count"), [(512, 7_011_328), (4096, 8_394_752), (2048, 7_604_224)])
def test_parameter_counts(video_dim, count):
    with torch.device("meta"):
        model = CootModel(ModelConfig(video_dim=video_dim))
    assert sum(p.numel() for p in model.parameters()) == count
