"""S3D of MIL-NCE: the public file's keys, golden outputs, and every way in which a weight file can be wrong."""

from __future__ import annotations

import copy
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from encoder.features import s3d
from encoder.features.s3d import S3D, MaxPool, S3DFeatures, load_s3d, read_vocabulary, word_ids
from tests.golden_cases import DEFAULT, cases
from training.errors import CootmartError

TOLERANCE = 1e-3
FILES = cases("s3d", "*.safetensors")


def header(path: Path) -> tuple[set[str], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return set(file.keys()), file.metadata() or {}


def files_with(key: str) -> list[Path]:
    return [path for path in FILES if key in header(path)[0]]


def recipe(key: str, shape: tuple[int, ...], salt: str) -> torch.Tensor:
    """The number recipe of the golden weights: normal noise seeded by the key, scaled by what the tensor is."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    noise = np.random.RandomState(zlib.crc32((salt + key).encode()) & 0xFFFFFFFF).standard_normal(shape)
    owner, last = key.split(".")[-2:]
    if owner in ("bn1", "bn2") and last == "weight":
        noise = 1 + 0.1 * noise
    elif last == "bias":
        noise = 0.1 * noise
    elif owner != "word_embd" and len(shape) > 1:
        noise = noise * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(noise, np.float32))


@cache
def golden_model(salt: str) -> S3D:
    model = S3D()
    state = {key: recipe(key, tuple(value.shape), salt) for key, value in model.state_dict().items()}
    for path in files_with("conv1.bn1.running_mean"):
        if header(path)[1].get("salt", "") == salt:
            state |= load_file(path)
    model.load_state_dict(state)
    return model.eval()


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.golden
@pytest.mark.parametrize("path", files_with("video_u8"), ids=lambda path: path.stem)
def test_golden_clips(path):
    case, metadata = load_file(path), header(path)[1]
    model, video = golden_model(metadata["salt"]), case["video_u8"].float() / 255
    stages, found = metadata["stages"].split(","), {}

    def keep(name):
        return lambda _, __, y: found.update({name: (list(y.shape), y.double().mean(), y.double().std(correction=0))})

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in stages]
    mixed = model.mixed(video)
    for hook in hooks:
        hook.remove()
    assert distance(mixed, case["mixed_5c"]) < TOLERANCE
    assert distance(model(video), case["video_embedding"]) < TOLERANCE
    assert [found[name][0] for name in stages] == case["stage_shape"].tolist()
    for i, key in ((1, "stage_mean"), (2, "stage_std")):
        torch.testing.assert_close(torch.stack([found[name][i] for name in stages]), case[key], rtol=2e-3, atol=1e-5)
    folded = copy.deepcopy(model).fold_norms()
    assert not any(isinstance(part, nn.BatchNorm3d) for part in folded.modules())
    assert distance(folded(video), case["video_embedding"]) < TOLERANCE


@pytest.mark.golden
@pytest.mark.parametrize("path", files_with("text_embedding"), ids=lambda path: path.stem)
def test_golden_sentences(path, tmp_path):
    case, metadata = load_file(path), header(path)[1]
    np.save(tmp_path / "dict.npy", np.array(json.loads(metadata["dict"])))
    sentences = json.loads(metadata["sentences"])
    ids = word_ids(sentences, read_vocabulary(tmp_path / "dict.npy"), case["ids"].shape[1])
    assert torch.equal(ids, case["ids"])
    with torch.inference_mode():
        found = golden_model(metadata["salt"]).text_module(ids)
    assert distance(found, case["text_embedding"]) < TOLERANCE


def test_golden_cases_are_there():
    assert files_with("video_u8") and files_with("text_embedding") and files_with("conv1.bn1.running_mean")


def test_keys_of_the_public_file():
    lines = (DEFAULT / "s3d" / "state_dict_keys.tsv").read_text(encoding="utf-8").splitlines()
    state = S3D().state_dict()
    assert [f"{key}\t{tuple(value.shape)}\t{value.dtype}" for key, value in state.items()] == lines


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
@pytest.mark.parametrize("shape", [(8, 14, 14), (5, 13, 15), (1, 7, 2), (2, 1, 3)])
def test_pooling_equals_the_padded_one(kernel, stride, shape):
    x = torch.rand(2, 3, *shape)
    extra = [max(k - s, 0) for k, s in zip(kernel[::-1], stride[::-1], strict=True)]
    padded = F.pad(x, [side for n in extra for side in (n // 2, n - n // 2)])
    assert torch.equal(MaxPool(kernel, stride)(x), F.max_pool3d(padded, kernel, stride, ceil_mode=True))


@pytest.mark.parametrize("shape", [(1, 3, 5, 8, 8), (1, 3, 4, 8, 9), (1, 1, 4, 8, 8), (3, 4, 8, 8)])
def test_other_clips_are_refused(shape):
    with pytest.raises(CootmartError, match="T, H, W even"):
        S3D.mixed(None, torch.zeros(shape))


def public_like() -> dict[str, torch.Tensor]:
    """The public file's keys and shapes; every tensor is one number, so that the file is small."""
    return {key: torch.ones((), dtype=value.dtype).expand(value.shape) for key, value in S3D().state_dict().items()}


def test_weights_load(tmp_path):
    torch.save(public_like(), tmp_path / "w.pth")
    model = load_s3d(tmp_path / "w.pth")
    assert not model.training and all((value == 1).all() for value in model.state_dict().values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("mixed_4c.gating_b2.fc.bias"), "'mixed_4c.gating_b2.fc.bias' is missing"),
        (lambda s: s.update({"fc2.weight": torch.zeros(1)}), "'fc2.weight' is unknown"),
        (
            lambda s: s.update({"conv1.conv1.weight": torch.zeros(64, 3, 3, 7, 7)}),
            r"'conv1.conv1.weight': found shape \(64, 3, 3, 7, 7\), expected \(64, 24, 2, 4, 4\)",
        ),
        (lambda s: (s.clear(), s.update(state_dict={})), "'conv1.conv1.weight' is missing"),
    ],
)
def test_other_weights_are_refused(change, message, tmp_path):
    state = public_like()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CootmartError, match=message):
        load_s3d(tmp_path / "w.pth")


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(CootmartError, match="no such file; expected the weights s3d_howto100m"):
        load_s3d(tmp_path / "none.pth")
    for content in (b"", b"not weights", b"PK\x03\x04 cut off"):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(CootmartError, match="no readable PyTorch weights"):
            load_s3d(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(CootmartError, match="found a list"):
        load_s3d(tmp_path / "w.pth")


def test_files_that_are_no_vocabulary(tmp_path):
    with pytest.raises(CootmartError, match=r"none\.npy"):
        read_vocabulary(tmp_path / "none.npy")
    np.save(tmp_path / "numbers.npy", np.arange(3))
    with pytest.raises(CootmartError, match="expected a list of words"):
        read_vocabulary(tmp_path / "numbers.npy")


class Seen(nn.Module):
    """Instead of the network: keeps its input."""

    def fold_norms(self):
        return self

    def forward(self, video):
        self.video = video.clone()
        return video.mean((1, 2, 3, 4))[:, None]


def test_windows_are_cropped_scaled_and_filled_with_black(monkeypatch):
    monkeypatch.setattr(s3d, "load_s3d", lambda path: Seen())
    features = S3DFeatures("w.pth", size=6, frames=4, device="cpu")
    window = np.random.default_rng(0).integers(0, 256, (3, 6, 10, 3), dtype=np.uint8)
    assert features(window).shape == (1, 1)
    seen = features.model.video.numpy()
    assert seen.shape == (1, 3, 4, 6, 6)
    np.testing.assert_allclose(seen[0, :, :3], window[:, :, 2:8].transpose(3, 0, 1, 2) / np.float32(255), rtol=1e-6)
    assert not seen[0, :, 3].any()
    grey = np.full((4, 30, 20, 3), 51, np.uint8)
    features(grey)
    np.testing.assert_allclose(features.model.video.numpy(), 0.2, rtol=1e-5)
    for wrong in (np.zeros((5, 6, 6, 3), np.uint8), window.astype(np.float32), window[0]):
        with pytest.raises(CootmartError, match="T up to 4"):
            features(wrong)
