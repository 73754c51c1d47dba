"""Where segments start and end, judged frame by frame: a small network learnt beside the encoder, from the same data.

Annotated segments are no scenes: what people call one step of a recipe may hold several shots, and one shot several
steps. So what makes a segment is learnt from the training videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.errors import CootmartError
from training.files import atomic_path

FILE = "boundaries.safetensors"
WIDTH = 48
KERNEL = 5
DILATIONS = (1, 2, 4)
STEPS = 500
ROWS, COLUMNS = 16, 128
"""stretches in a batch and frames in a stretch"""
LEARNING_RATE = 6e-3

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Example:
    """A training video."""

    features: np.ndarray
    """(T, D)"""
    labels: np.ndarray
    """float32 (T, 3): inside a segment, first frame of one, last frame of one"""


class Boundaries(nn.Module):
    """Frame features (B, T, D) -> log odds (B, T, 3) of being inside a segment, the first frame of one, the last."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.narrow = nn.Linear(dim, WIDTH)
        self.layers = nn.ModuleList(
            nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2 * dilation, dilation=dilation) for dilation in DILATIONS
        )
        self.judge = nn.Linear(WIDTH, 3)

    def forward(self, features: Tensor) -> Tensor:
        x = self.narrow((features - self.mean) * self.scale).transpose(1, 2)  # (B, W, T)
        for layer in self.layers:
            x = x + layer(torch.relu(x))
        return self.judge(torch.relu(x).transpose(1, 2))

    @property
    def dim(self) -> int:
        """D."""
        return self.narrow.in_features

    def log_odds(self, features: np.ndarray) -> np.ndarray:
        """(T, D) -> (T, 3) float32; once learnt, those of starts and ends are against those of any training frame."""
        with torch.inference_mode():
            return self(torch.from_numpy(features).float()[None].to(self.mean.device))[0].cpu().numpy()


def save_boundaries(model: Boundaries, folder: str | Path) -> None:
    """Write ``boundaries.safetensors`` to an encoder's model folder."""
    with atomic_path(Path(folder) / FILE) as beside:
        save_file({name: value.contiguous().cpu() for name, value in model.state_dict().items()}, beside)


def load_boundaries(folder: str | Path) -> Boundaries | None:
    """Those of a model folder, ready to judge; None where there are none: published weights have none.

    Raises:
        CootmartError: the file is damaged or of another network.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        state = load_file(path)
        model = Boundaries(len(state["mean"]))
        model.load_state_dict(state)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise CootmartError(
            f"{path}: not the boundary network that training leaves ({error}); delete it to do without"
        ) from None
    return model.eval()


def example(features: np.ndarray, duration: float, spans: Spans) -> Example:
    """A training video with its annotated (start, stop) in seconds."""
    labels = np.zeros((len(features), 3), np.float32)
    for start, stop in spans:
        first, last = frames_of(start, stop, duration, len(features))
        labels[first : last + 1, 0] = labels[first, 1] = labels[last, 2] = 1
    return Example(features, labels)


def frames_of(start: float, stop: float, duration: float, count: int) -> tuple[int, int]:
    """First and last of the ``count`` frames of a segment; never none."""
    rate = count / duration
    first = min(max(round(start * rate), 0), count - 1)
    return first, min(max(round(stop * rate) - 1, first), count - 1)


def learn_boundaries(examples: Sequence[Example], seed: int = 0, steps: int = STEPS) -> Boundaries:
    """Fit the network to annotated videos by logistic regression of its three outputs; seconds on a CPU.

    How often segments start and end in general is then taken out of its judgements (a posterior divided by its prior,
    as in hybrid hidden Markov models, Bourlard & Morgan 1994): the search for segments knows that from their lengths,
    and where one segment follows the other it would otherwise be counted twice and most of them be joined.

    Args:
        examples: training videos, at least one; their features stay in memory.
    """
    dim, draw = examples[0].features.shape[1], np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Boundaries(dim)
    _standardise(model, examples)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        features, labels, is_real = _stretches(examples, draw)
        loss = nn.functional.binary_cross_entropy_with_logits(model(features), labels, reduction="none")
        loss = loss[is_real].sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        model.judge.bias[1:] -= torch.logit(_share(examples))[1:]
    return model.eval()


def _share(examples: Sequence[Example]) -> Tensor:
    """Share of frames inside segments, first and last of one, (3,); as if half a frame more were and were not."""
    counts = sum(e.labels.sum(0, dtype=np.float64) for e in examples)
    return torch.from_numpy((counts + 0.5) / (sum(len(e.labels) for e in examples) + 1)).float()


def _standardise(model: Boundaries, examples: Sequence[Example]) -> None:
    frames = np.concatenate([e.features[:: max(1, len(e.features) // 32)] for e in examples[:2000]]).astype(np.float32)
    model.mean.copy_(torch.from_numpy(frames.mean(0)))
    model.scale.copy_(torch.from_numpy(1 / np.maximum(frames.std(0), 1e-3 * frames.std() + 1e-12)))


def _stretches(examples: Sequence[Example], draw: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random stretches of random videos: features (B, T, D), labels (B, T, 3), which frames are real (B, T)."""
    chosen = [examples[i] for i in draw.integers(len(examples), size=ROWS)]
    longest = min(COLUMNS, max(len(e.features) for e in chosen))
    features = np.zeros((ROWS, longest, chosen[0].features.shape[1]), np.float32)
    labels, is_real = np.zeros((ROWS, longest, 3), np.float32), np.zeros((ROWS, longest), bool)
    for row, e in enumerate(chosen):
        first = int(draw.integers(max(1, len(e.features) - longest + 1)))
        part = slice(first, first + longest)
        n = len(e.features[part])
        features[row, :n], labels[row, :n], is_real[row, :n] = e.features[part], e.labels[part], True
    return torch.from_numpy(features), torch.from_numpy(labels), torch.from_numpy(is_real)
