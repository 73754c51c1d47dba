"""Backbones by name, windows over a stream of frames, and models of Hugging Face with their own preprocessing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from encoder.features import backbones, huggingface, s3d
from encoder.features.backbones import Backbone, Window, load_backbone, video_features
from encoder.features.extract import extract_features
from training.errors import CootmartError

VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = VISION | {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
NORM = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
CROP = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}, "resample": 3, **NORM}
SQUARE = {"size": {"height": 32, "width": 32}, "resample": 2, **NORM}


def write_video(path: Path, count: int, rate: int = 16, size: tuple[int, int] = (48, 64)) -> Path:
    """Frame k is grey of level k (lossless)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "bgr0"
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), k, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def first_and_last(frames: np.ndarray) -> np.ndarray:
    """A window's first and last level and its length, as its feature."""
    return np.array([[frames[0, 0, 0, 0], frames[-1, 0, 0, 0], len(frames)]], np.float32)


def test_import_is_light():
    code = "import sys, encoder.features.backbones; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3d", "found 's3d', expected one of demo_descriptor, .*s3d_howto100m:PATH, .*hf:NAME_OR_FOLDER"),
        ("demo_descriptor:x", "expected 'demo_descriptor' without a colon"),
        ("s3d_howto100m", "s3d_howto100m:PATH or set COOTMART_S3D"),
        ("s3d_howto100m_paper2020:none.pth", r"none\.pth: no such file"),
        ("hf", "expected hf:NAME_OR_FOLDER"),
        ("hf:./none", "no such folder; try"),
    ],
)
def test_wrong_names(name, message, monkeypatch):
    monkeypatch.delenv(s3d.WEIGHTS_VARIABLE, raising=False)
    with pytest.raises(CootmartError, match=message):
        load_backbone(name)


@pytest.mark.parametrize(
    ("name", "size", "window", "rate"),
    [("s3d_howto100m", 256, Window(32, 16), 1.0), ("s3d_howto100m_paper2020", 224, Window(32, 10), 0.625)],
)
def test_recipes_of_s3d(name, size, window, rate, monkeypatch):
    asked = []
    monkeypatch.setattr(s3d, "S3DFeatures", lambda *arguments: asked.append(arguments))
    monkeypatch.setenv(s3d.WEIGHTS_VARIABLE, "from_variable.pth")
    for full_name, path in ((f"{name}:from:name.pth", "from:name.pth"), (name, "from_variable.pth")):
        found = load_backbone(full_name)
        assert (found.name, found.size, found.window, found.rate) == (full_name, size, window, rate)
        assert asked[-1] == (Path(path), size, 32)


@pytest.mark.parametrize(
    ("count", "fps", "expected"),
    [  # at 16 frames a second, windows of 8
        (24, 4.0, [[0, 7], [4, 11], [8, 15], [12, 19], [16, 23], [16, 23]]),  # overlap; the last ends with the video
        (20, 1.0, [[0, 7], [12, 19]]),  # gaps
        (20, 3.0, [[0, 7], [5, 12], [10, 17], [12, 19]]),  # starts at 16 / 3 frames
        (8, 2.0, [[0, 7]]),
        (5, 4.0, [[0, 4], [0, 4]]),  # shorter than a window
        (9, 32.0, [[k, k + 7] for k in (0, 0, 1, 1)] + 14 * [[1, 8]]),  # more features than frames
    ],
)
def test_windows(count, fps, expected, tmp_path):
    backbone = Backbone("windows", None, first_and_last, window=Window(8, 16.0), rate=fps)
    features = video_features(write_video(tmp_path / "v.mkv", count), backbone)
    assert features[:, :2].tolist() == expected
    assert set(features[:, 2]) == {min(8, count)}


def test_windows_and_frames_are_streamed(tmp_path, monkeypatch):
    path, read, described = write_video(tmp_path / "v.mkv", 100), [], []

    def counted(path, fps, size):
        for k in range(100):
            read.append(k)
            yield k / fps, np.full((2, 2, 3), k, np.uint8)

    def describe(frames):
        described.append((len(read), len(frames)))
        return np.zeros((1 if backbone.window else len(frames), 1), np.float32)

    monkeypatch.setattr(backbones, "read_frames", counted)
    backbone = Backbone("windows", None, describe, window=Window(8, 16.0))
    video_features(path, backbone, 4.0)
    assert described == [(8 + 4 * k, 8) for k in range(24)] + [(100, 8)]
    read.clear(), described.clear()
    backbone = Backbone("frames", None, describe)
    assert video_features(path, backbone, 16.0).shape == (100, 1)
    assert described == [(n, 16) for n in range(16, 97, 16)] + [(100, 4)]


def test_parts_of_a_sequence_see_the_frame_before(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 96, 96, 3), dtype=np.uint8)
    monkeypatch.setattr(backbones, "read_frames", lambda *_: ((0.0, frame) for frame in frames))
    backbone = load_backbone("demo_descriptor")
    np.testing.assert_allclose(video_features("v", backbone, 1.0), backbone.describe(frames), atol=1e-6)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan")])
def test_rates_that_are_none(fps):
    with pytest.raises(CootmartError, match="above 0"):
        video_features("v.mp4", load_backbone("demo_descriptor"), fps)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Tiny random models with the processors of their kind, a folder each."""
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    t = transformers
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    square = SiglipImageProcessorPil(**SQUARE)
    dino = {key: value for key, value in VISION.items() if key != "intermediate_size"}
    decoder = {f"decoder_{key}": value for key, value in VISION.items() if key not in ("image_size", "patch_size")}
    clip = t.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=12)
    made = {
        "clip": (t.CLIPModel(clip), CLIPImageProcessorPil(**CROP)),
        "siglip": (t.SiglipModel(t.SiglipConfig(vision_config=VISION, text_config=TEXT)), square),
        "dinov2": (t.Dinov2Model(t.Dinov2Config(**dino)), BitImageProcessorPil(**CROP)),
        "videomae": (
            t.VideoMAEForPreTraining(t.VideoMAEConfig(**VISION, **decoder)),
            VideoMAEImageProcessorPil(**CROP),
        ),
        "classifier": (t.ViTForImageClassification(t.ViTConfig(**VISION)), square),
        "words": (t.BertModel(t.BertConfig(**TEXT)), square),
        "no_processor": (t.ViTModel(t.ViTConfig(**VISION)), None),
    }
    for name, parts in made.items():
        for part in filter(None, parts):
            part.eval().save_pretrained(folder / name) if hasattr(part, "eval") else part.save_pretrained(folder / name)
    return folder


FRAMES = np.random.default_rng(1).integers(0, 256, (5, 48, 72, 3), dtype=np.uint8)
CROPPED, SQUEEZED = ((54, 36), Image.BICUBIC), ((32, 32), Image.BILINEAR)


def prepared(size: tuple[int, int], method: Image.Resampling) -> torch.Tensor:
    """By hand: scale to (width, height), central 32 x 32, values in [0, 1], mean and deviation -> (5, 3, 32, 32)."""
    x = np.stack([np.asarray(Image.fromarray(frame).resize(size, method), np.float32) for frame in FRAMES])
    top, left = (size[1] - 32) // 2, (size[0] - 32) // 2
    x = (x[:, top : top + 32, left : left + 32] / 255 - NORM["image_mean"]) / NORM["image_std"]
    return torch.from_numpy(x).float().permute(0, 3, 1, 2)


def assert_near(found: np.ndarray, expected: torch.Tensor) -> None:
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3 * float(expected.abs().max()))


def image_feature(model, x):
    found = model.get_image_features(pixel_values=x)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


@pytest.mark.parametrize(
    ("name", "kind", "preprocessing", "width", "feature"),
    [
        ("clip", "CLIPModel", CROPPED, 12, image_feature),
        ("siglip", "SiglipModel", SQUEEZED, 16, image_feature),
        ("dinov2", "Dinov2Model", CROPPED, 16, lambda model, x: model(x).last_hidden_state[:, 0]),
        ("classifier", "ViTModel", SQUEEZED, 16, lambda model, x: model(x).last_hidden_state.mean(1)),
    ],
)
def test_picture_models(name, kind, preprocessing, width, feature, models):
    model = getattr(transformers, kind).from_pretrained(models / name)
    with torch.inference_mode():
        expected = feature(model, prepared(*preprocessing))
    backbone = load_backbone(f"hf:{models / name}")
    assert backbone.window is None and expected.shape == (5, width)
    assert_near(backbone.describe(FRAMES), expected)


def test_video_model(models):
    model, x = transformers.VideoMAEModel.from_pretrained(models / "videomae"), prepared(*CROPPED)
    with torch.inference_mode():
        expected = model(torch.cat([x, x[-1:].expand(11, -1, -1, -1)])[None]).last_hidden_state.mean(1)
    backbone = load_backbone(f"hf:{models / 'videomae'}")
    assert backbone.window == Window(16, huggingface.CLIP_FPS)
    assert_near(backbone.describe(FRAMES), expected)
    with pytest.raises(CootmartError, match="clip of 20, expected at most the 16"):
        backbone.describe(np.concatenate([FRAMES] * 4))


def test_from_files_to_features(models, tmp_path):
    videos = {"v": write_video(tmp_path / "v.mkv", 40), "broken": tmp_path / "none.mp4"}
    for name, rows in (("clip", 3), ("videomae", 3)):
        failures = extract_features(videos, f"hf:{models / name}", 1.0, tmp_path / "f.h5")
        assert list(failures) == ["broken"]
        with h5py.File(tmp_path / "f.h5") as file:
            assert len(file["v"]) == rows and np.isfinite(file["v"]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("words", "found BertModel, which reads 'input_ids'; expected a model of pictures"),
        ("no_processor", "no usable processor configuration .* expected preprocessor_config.json"),
        ("cut", "cannot be loaded .* try the folder of a downloaded model"),
        ("empty", "cannot be loaded .* try the folder of a downloaded model"),
        ("lost", r"'.*layers?.0.*' and \d+ more of the weights of ViTModel are missing"),
    ],
)
def test_models_that_cannot_be_used(name, message, models):
    if name in ("cut", "lost", "empty"):
        shutil.copytree(models / "no_processor", models / name)
    weights = models / name / "model.safetensors"
    if name == "cut":
        weights.write_bytes(weights.read_bytes()[:500])
    elif name == "empty":
        weights.unlink()
    elif name == "lost":
        save_file({k: v for k, v in load_file(weights).items() if "layer.0" not in k}, weights, {"format": "pt"})
    with pytest.raises(CootmartError, match=message):
        load_backbone(f"hf:{models / name}")


def test_names_without_a_network(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("We couldn't connect to 'https://huggingface.co'\nsecond line")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", unreachable)
    with pytest.raises(CootmartError, match=r"hf:some/model: .*connect to 'https://huggingface.co'\); try the folder"):
        load_backbone("hf:some/model")


def test_only_frames_are_described(models):
    describe = load_backbone(f"hf:{models / 'clip'}").describe
    for wrong in (FRAMES[0], FRAMES.astype(np.float32), FRAMES[:0], FRAMES[..., :1]):
        with pytest.raises(CootmartError, match="expected uint8"):
            describe(wrong)
