"""Dropout whose random numbers do not cost more than the network: torch draws one Bernoulli number after another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LANES = 4  # 16-bit numbers in a 64-bit one
_LOWEST, _VALUES = -(2**15), 2**16


def keep_mask(shape: torch.Size, p: float, dtype: torch.dtype) -> Tensor:
    """``0`` with probability ``p`` (to 1/65536), else ``1 / (1 - p)``, drawn from torch's generator of the CPU."""
    count = shape.numel()
    words = torch.empty(-(-count // _LANES), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[:count] >= _LOWEST + round(p * _VALUES)
    return kept.to(dtype).mul_(1 / (1 - p)).view(shape)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by ``1 / (1 - p)``, in training only."""
    if not training or p == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    return x * keep_mask(x.shape, p, x.dtype)


class Dropout(nn.Module):
    """`dropout` as a module, in the place of `torch.nn.Dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)
