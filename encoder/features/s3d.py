"""S3D-G of MIL-NCE (Miech et al. 2020, Xie et al. 2018) as trained on HowTo100M: video clips and sentences to 512-d.

Module names are those of the public file ``s3d_howto100m.pth``, so that it loads as it is.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.errors import CootmartError

DIM = 512
MAX_WORDS = 16
WEIGHTS_VARIABLE = "COOTMART_S3D"
"""environment variable with the path of the weights, for backbone names without one"""
SOURCE = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m/s3d_howto100m.pth"

INCEPTION = {  # name -> channels in; of branch 0; of branch 1 inside, out; of branch 2 inside, out; of branch 3
    "mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel: Sequence[int], padding: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inside, outside, tuple(kernel), padding=tuple(padding), bias=False)
        self.bn1 = nn.BatchNorm3d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn1(self.conv1(x)).relu_()


class SeparableConvNorm(ConvNorm):
    """A 3 x 3 x 3 filter as one in space and one in time, each with batch norm and ReLU."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, (1, 3, 3), (0, 1, 1))
        self.conv2 = nn.Conv3d(outside, outside, (3, 1, 1), padding=(1, 0, 0), bias=False)
        self.bn2 = nn.BatchNorm3d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(super().forward(x))).relu_()


class SelfGating(nn.Module):
    """Scales every channel by ``sigmoid(W mean(x) + b)``, the mean over time and space."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3, 4))).sigmoid()[:, :, None, None, None] * x


class MaxPool(nn.Module):
    """Maximum over windows of values >= 0, one axis after the other (ten times as fast as `nn.MaxPool3d` on a CPU).

    Output i looks at inputs from i stride - (kernel - stride) // 2 on; there are ceil(n / stride) outputs, and what
    lies outside counts as 0. For the even sizes this is TensorFlow's "same" padding.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        for axis, kernel, stride in zip((4, 3, 2), reversed(self.kernel), reversed(self.stride), strict=True):
            x = _maximum_along(x, axis, kernel, stride) if kernel > 1 else x
        return x


def _maximum_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    x = x.movedim(axis, 0)
    before = (kernel - stride) // 2
    out = x[::stride].clone()
    for offset in range(1, kernel - before):
        here = x[offset::stride]
        torch.maximum(out[: len(here)], here, out=out[: len(here)])
    for offset in range(1, before + 1):
        here = x[stride - offset : len(x) - offset : stride]
        torch.maximum(out[1:], here, out=out[1:])
    return out.movedim(0, axis)


class Inception(nn.Module):
    """Four branches side by side, each gated: 1, 1 then 3, 1 then 3, and maximum of 3 then 1."""

    def __init__(self, inside: int, b0: int, b1_a: int, b1_b: int, b2_a: int, b2_b: int, b3: int) -> None:
        super().__init__()
        self.conv_b0 = ConvNorm(inside, b0, (1, 1, 1))
        self.conv_b1_a = ConvNorm(inside, b1_a, (1, 1, 1))
        self.conv_b1_b = SeparableConvNorm(b1_a, b1_b)
        self.conv_b2_a = ConvNorm(inside, b2_a, (1, 1, 1))
        self.conv_b2_b = SeparableConvNorm(b2_a, b2_b)
        self.maxpool_b3 = MaxPool((3, 3, 3), (1, 1, 1))
        self.conv_b3_b = ConvNorm(inside, b3, (1, 1, 1))
        for i, channels in enumerate((b0, b1_b, b2_b, b3)):
            setattr(self, f"gating_b{i}", SelfGating(channels))

    def forward(self, x: Tensor) -> Tensor:
        b0 = self.gating_b0(self.conv_b0(x))
        b1 = self.gating_b1(self.conv_b1_b(self.conv_b1_a(x)))
        b2 = self.gating_b2(self.conv_b2_b(self.conv_b2_a(x)))
        b3 = self.gating_b3(self.conv_b3_b(self.maxpool_b3(x)))
        return torch.cat((b0, b1, b2, b3), 1)


class SentenceEmbedding(nn.Module):
    """Word numbers (B, words) with 0 for padding -> (B, 512); the maximum over words takes part in padding, too."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embd = nn.Embedding(66250, 300)
        self.fc1 = nn.Linear(300, 2048)
        self.fc2 = nn.Linear(2048, DIM)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.word_embd(ids)).relu().amax(1))


class S3D(nn.Module):
    """Clips of video to their embedding in the space shared with sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(24, 64, (2, 4, 4), (1, 2, 2))
        self.maxpool_2a = MaxPool((1, 3, 3), (1, 2, 2))
        self.conv_2b = ConvNorm(64, 64, (1, 1, 1))
        self.conv_2c = SeparableConvNorm(64, 192)
        self.gating = SelfGating(192)
        self.maxpool_3a = MaxPool((1, 3, 3), (1, 2, 2))
        for name, widths in INCEPTION.items():
            setattr(self, name, Inception(*widths))
        self.maxpool_4a = MaxPool((3, 3, 3), (2, 2, 2))
        self.maxpool_5a = MaxPool((2, 2, 2), (2, 2, 2))
        self.fc = nn.Linear(1024, DIM)
        self.text_module = SentenceEmbedding()

    @torch.inference_mode()
    def forward(self, video: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, T, H, W) with T, H, W even -> (B, 512), not normalised."""
        return self.fc(self.mixed(video))

    @torch.inference_mode()
    def mixed(self, video: Tensor) -> Tensor:
        """As `forward`, before the last layer -> (B, 1024), called ``mixed_5c`` by its authors.

        Raises:
            CootmartError: another shape, or an odd T, H or W.
        """
        if video.ndim != 5 or video.shape[1] != 3 or any(n % 2 or not n for n in video.shape[2:]):
            raise CootmartError(f"S3D: found a clip {tuple(video.shape)}, expected (B, 3, T, H, W) with T, H, W even")
        x = rearrange(video, "b c (t dt) (h dh) (w dw) -> b (dt dh dw c) t h w", dt=2, dh=2, dw=2)
        x = self.conv1(x)[:, :, 1:, 1:, 1:]  # the even kernel makes one row too many
        x = self.gating(self.conv_2c(self.conv_2b(self.maxpool_2a(x))))
        x = self.mixed_3c(self.mixed_3b(self.maxpool_3a(x)))
        x = self.mixed_4d(self.mixed_4c(self.mixed_4b(self.maxpool_4a(x))))
        x = self.mixed_4f(self.mixed_4e(x))
        x = self.mixed_5c(self.mixed_5b(self.maxpool_5a(x)))
        return x.mean((2, 3, 4))

    def fold_norms(self) -> S3D:
        """Put every batch norm into the convolution before it: the same numbers, faster; not for training."""
        for part in self.eval().modules():
            for i in (1, 2):
                if (norm := getattr(part, f"bn{i}", None)) is not None:
                    setattr(part, f"conv{i}", fuse_conv_bn_eval(getattr(part, f"conv{i}"), norm))
                    setattr(part, f"bn{i}", nn.Identity())
        return self


def load_s3d(path: str | Path) -> S3D:
    """The network with the public weights, in evaluation mode.

    Raises:
        CootmartError: the file is missing, is no state dict, or a key is missing, unknown or of another shape.
    """
    try:
        state = torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file; expected the weights s3d_howto100m.pth, from {SOURCE}") from None
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise CootmartError(f"{path}: no readable PyTorch weights ({error}); download {SOURCE} again") from None
    model = S3D()
    _require_same_keys(model.state_dict(), state, str(path))
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


def _require_same_keys(own: dict[str, Tensor], found: object, where: str) -> None:
    """Raise `CootmartError` with the first key that is missing, of another shape, or unknown."""
    hint = f"expected the {len(own)} tensors of s3d_howto100m.pth, from {SOURCE}"
    if not isinstance(found, dict):
        raise CootmartError(f"{where}: found a {type(found).__name__}, {hint}")
    for key, tensor in own.items():
        if not isinstance(found.get(key), Tensor):
            raise CootmartError(f"{where}: key {key!r} is missing; {hint}")
        if found[key].shape != tensor.shape:
            shapes = f"found shape {tuple(found[key].shape)}, expected {tuple(tensor.shape)}"
            raise CootmartError(f"{where}: key {key!r}: {shapes}; {hint}")
    if unknown := [key for key in found if key not in own]:
        raise CootmartError(f"{where}: key {unknown[0]!r} is unknown; {hint}")


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Word to number, from the public ``s3d_dict.npy``: the word at position i has number i + 1.

    Raises:
        CootmartError: the file is missing or is no list of words.
    """
    try:
        words = np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise CootmartError(f"{path}: not readable as a NumPy list of words ({error})") from None
    if words.ndim != 1 or words.dtype.kind != "U":
        raise CootmartError(f"{path}: found {words.dtype} {words.shape}, expected a list of words as in s3d_dict.npy")
    return {str(word): i for i, word in enumerate(words, 1)}


def word_ids(sentences: Sequence[str], vocabulary: dict[str, int], max_words: int = MAX_WORDS) -> Tensor:
    """Numbers of the known words of each sentence, cut or filled with 0 -> int64 (B, max_words)."""
    ids = torch.zeros(len(sentences), max_words, dtype=torch.int64)
    for row, sentence in zip(ids, sentences, strict=True):
        known = [vocabulary[word] for word in re.findall(r"[\w']+", sentence.lower()) if word in vocabulary]
        row[: len(known)] = torch.tensor(known[:max_words], dtype=torch.int64)
    return ids


def weights_path(argument: str) -> Path:
    """The path written in a backbone's name, or else that in the environment variable ``COOTMART_S3D``.

    Raises:
        CootmartError: neither is given.
    """
    path = argument or os.environ.get(WEIGHTS_VARIABLE)
    if not path:
        raise CootmartError(
            f"backbone s3d_howto100m: it is not known where the weights are; write s3d_howto100m:PATH or set "
            f"{WEIGHTS_VARIABLE}=PATH, with the file from {SOURCE}"
        )
    return Path(path).expanduser()


class S3DFeatures:
    """Windows of frames to features: central square, scaled to ``size``, values in [0, 1].

    Args:
        path: the public weights.
        size: height and width that the network sees, even.
        frames: length of a window, even; what a shorter video lacks is filled with black.
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(self, path: str | Path, size: int, frames: int, device: str | torch.device | None = None) -> None:
        self.size, self.frames = size, frames
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = load_s3d(path).fold_norms().to(self.device)

    def __call__(self, window: np.ndarray) -> np.ndarray:
        """uint8 RGB (T <= frames, H, W, 3) -> float32 (1, 512).

        Raises:
            CootmartError: another shape or type, or a longer window.
        """
        rgb = window.ndim == 4 and window.shape[-1] == 3 and window.dtype == np.uint8
        if not rgb or not 0 < len(window) <= self.frames:
            expected = f"uint8 (T, height, width, 3) with T up to {self.frames}"
            raise CootmartError(f"frames: found {window.dtype} {window.shape}, expected {expected}")
        side = min(window.shape[1:3])
        top, left = ((n - side) // 2 for n in window.shape[1:3])
        square = np.ascontiguousarray(window[:, top : top + side, left : left + side])
        video = rearrange(torch.from_numpy(square).to(self.device), "t h w c -> c t h w").float() / 255
        if video.shape[2] != self.size:
            video = F.interpolate(video, (self.size, self.size), mode="bilinear", antialias=True)
        video = F.pad(video, (0, 0, 0, 0, 0, self.frames - video.shape[1]))
        with torch.inference_mode():
            return self.model(video[None]).cpu().numpy()
