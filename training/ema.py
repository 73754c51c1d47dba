"""Exponential moving average of the weights, kept beside the raw ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """``shadow = d shadow + (1 - d) p`` with ``d = min(decay, (1 + s) / (10 + s))`` at step s = 0, 1, ...

    The shadow starts as the initial weights. The raw weights are never touched: `applied` lends the shadow to the
    model for validation and gives the raw weights back.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self._parameters(model)]

    def _parameters(self, model: nn.Module) -> list[Tensor]:
        parameters = dict(model.named_parameters())
        return [parameters[name] for name in self.names]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights after optimiser step ``step`` (0-based)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self._parameters(model)], 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Inside, ``model`` computes with the averaged weights."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for shadow, p in zip(self.shadow, self._parameters(model), strict=True):
            shadow.data, p.data = p.data, shadow.data

    def state_dict(self) -> dict[str, Tensor]:
        return dict(zip(self.names, self.shadow, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, shadow in zip(self.names, self.shadow, strict=True):
            shadow.copy_(state[name])
