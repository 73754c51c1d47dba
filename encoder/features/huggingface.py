"""Features of any vision model of Hugging Face's `transformers`: CLIP, SigLIP, DINOv2, ViT, VideoMAE and the like."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from training.errors import CootmartError

CLIP_FPS = 8.0
"""frames a second inside the clips of video models: 16 frames are 2 s, about as in VideoMAE's training"""
TRY = (
    "try the folder of a downloaded model (`hf download NAME --local-dir FOLDER`, then hf:FOLDER), check the "
    "spelling, or connect to the network (and unset HF_HUB_OFFLINE)"
)
FAILURES = (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError)


class HuggingFaceFeatures:
    """Frames to features, preprocessed as the model's own processor configuration says.

    A picture model gives a feature a frame, a video model (one with ``num_frames`` in its configuration) a feature a
    clip. Which: the projected image feature of models with a text side (CLIP, SigLIP); else the pooled output
    (DINOv2, ViT); else, and where the weights hold no pooler, the mean of the last hidden states (VideoMAE).

    Args:
        model: a name on the Hugging Face Hub or a folder.
        device: where to compute; None takes a GPU if there is one.

    Raises:
        CootmartError: the model cannot be had or read, reads no pictures, or has no processor configuration.
    """

    def __init__(self, model: str, device: str | torch.device | None = None) -> None:
        self.name = _existing(model)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.has_pooler = _load_model(self.name)
        self.processor = _load_processor(self.name)
        self.model.to(self.device)
        self.frames: int = getattr(self.model.config, "num_frames", 1)
        """frames a feature is made of; 1 of a picture model"""

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 RGB (T, H, W, 3) -> float32 (T, D); of a video model (1, D), a short clip ends with a still picture."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise CootmartError(f"frames: found {frames.dtype} {frames.shape}, expected uint8 (T, height, width, 3)")
        if len(frames) > self.frames > 1:
            raise CootmartError(
                f"frames: found a clip of {len(frames)}, expected at most the {self.frames} of {self.name}"
            )
        pictures = list(frames)
        if self.frames > 1:
            pictures += [pictures[-1]] * (self.frames - len(pictures))
        with torch.inference_mode():
            features = self._pooled(self._pixels(pictures))
        return self._checked(features, 1 if self.frames > 1 else len(frames)).float().cpu().numpy()

    def _pixels(self, pictures: list[np.ndarray]) -> Tensor:
        """Model input: (T, 3, H, W) of pictures, (1, T, 3, H, W) of a clip."""
        inputs = self.processor(pictures, return_tensors="pt", input_data_format="channels_last")
        return inputs["pixel_values"].to(self.device)

    def _pooled(self, pixels: Tensor) -> Tensor:
        if hasattr(self.model, "get_image_features"):
            found = self.model.get_image_features(pixel_values=pixels)
            return found if isinstance(found, Tensor) else found.pooler_output  # up to transformers 4, and from 5 on
        found = self.model(pixel_values=pixels)
        pooled = getattr(found, "pooler_output", None) if self.has_pooler else None
        return found.last_hidden_state.mean(1) if pooled is None else pooled.flatten(1)

    def _checked(self, features: Any, rows: int) -> Tensor:
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != rows:
            found = tuple(getattr(features, "shape", ())) or type(features).__name__
            raise CootmartError(
                f"backbone hf:{self.name}: {type(self.model).__name__} gives {found}, expected one feature a picture "
                "or clip; use a plain picture model such as CLIP, SigLIP or DINOv2"
            )
        return features


def _existing(model: str) -> str:
    if not model:
        raise CootmartError("backbone hf: found no model, expected hf:NAME_OR_FOLDER, such as hf:facebook/dinov2-small")
    path = Path(model).expanduser()
    looks_like_path = path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
    if looks_like_path and not path.is_dir():
        raise CootmartError(f"backbone hf:{model}: no such folder; {TRY}")
    return str(path) if path.is_dir() else model


def _load_model(name: str) -> tuple[Any, bool]:
    """The model in evaluation mode, and whether its weights hold all of it (True) or all but a pooler."""
    from transformers import AutoModel

    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(name, output_loading_info=True)
    except FAILURES as error:
        raise CootmartError(f"backbone hf:{name}: the model cannot be loaded ({_first_line(error)}); {TRY}") from None
    if getattr(model, "main_input_name", None) != "pixel_values" and not hasattr(model, "get_image_features"):
        raise CootmartError(
            f"backbone hf:{name}: found {type(model).__name__}, which reads {model.main_input_name!r}; expected a "
            "model of pictures or clips, such as CLIP, SigLIP, DINOv2, ViT or VideoMAE"
        )
    missing = sorted(report["missing_keys"])
    if others := [key for key in missing if "pooler" not in key]:
        raise CootmartError(
            f"backbone hf:{name}: {others[0]!r} and {len(others) - 1} more of the weights of {type(model).__name__} "
            f"are missing from the files; download it again, or {TRY}"
        )
    return model.float().eval().requires_grad_(False), not missing


def _load_processor(name: str) -> Any:
    from transformers import AutoImageProcessor

    try:
        with _quiet():  # by PIL: the same pictures with torchvision and without
            return AutoImageProcessor.from_pretrained(name, backend="pil")
    except FAILURES as error:
        raise CootmartError(
            f"backbone hf:{name}: no usable processor configuration ({_first_line(error)}); expected "
            f"preprocessor_config.json, which says how pictures are scaled, beside the weights; {TRY}"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No report of heads that are not used, and no progress bar; what matters of it is checked here."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
