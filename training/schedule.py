"""Learning-rate schedules: a factor for every step, told of every epoch's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from training.config import at_least, require


class Schedule(Protocol):
    """What the training loop asks of a schedule."""

    def factor(self, step: int, epoch: int) -> float:
        """Multiplier of the base rate at optimiser step ``step`` (0-based, over all epochs) of ``epoch``."""

    def epoch_end(self, epoch: int, improved: bool) -> None:
        """Called after every validated epoch."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


@dataclass(frozen=True)
class PlateauConfig:
    """Reduce the rate when the score stops improving, as COOT trains."""

    factor: float = 0.1
    """multiplier of a reduction"""
    patience: int = 5
    """bad epochs in a row that are tolerated"""
    cooldown: int = 3
    """epochs after a reduction that do not count"""
    warmup_epochs: int = 0
    """epochs of linear warm-up"""
    warmup: str = "epoch"
    """warm up once an `epoch` or every `step`"""

    def __post_init__(self) -> None:
        at_least(self, "schedule", 0, "factor", "patience", "cooldown", "warmup_epochs")
        require(self, "schedule", "warmup", self.warmup in ("epoch", "step"), "epoch or step")


class Plateau:
    """``factor^reductions``, times the warm-up; see `PlateauConfig`."""

    def __init__(self, config: PlateauConfig, steps_per_epoch: int) -> None:
        self.config, self.steps_per_epoch = config, steps_per_epoch
        self.bad = self.cooling = self.reductions = 0

    def factor(self, step: int, epoch: int) -> float:
        return self.config.factor**self.reductions * self._warmup(step, epoch)

    def _warmup(self, step: int, epoch: int) -> float:
        if epoch >= self.config.warmup_epochs:
            return 1.0
        if self.config.warmup == "epoch":
            return (epoch + 1) / self.config.warmup_epochs
        return (step + 1) / (self.config.warmup_epochs * self.steps_per_epoch + 1)

    def epoch_end(self, epoch: int, improved: bool) -> None:
        if epoch + 1 < self.config.warmup_epochs:
            return
        self.bad = 0 if improved else self.bad + 1
        if self.cooling:
            self.cooling, self.bad = self.cooling - 1, 0
        if self.bad > self.config.patience:
            self.reductions, self.cooling, self.bad = self.reductions + 1, self.config.cooldown, 0

    def state_dict(self) -> dict:
        return {"bad": self.bad, "cooling": self.cooling, "reductions": self.reductions}

    def load_state_dict(self, state: dict) -> None:
        self.bad, self.cooling, self.reductions = state["bad"], state["cooling"], state["reductions"]


class WarmupLinear:
    """Linear warm-up over a share of all steps, then linear decay to zero (MART's schedule).

    With ``x = step / total``: ``x / warmup`` while ``x < warmup``, then ``max((x - 1) / (warmup - 1), 0)``.
    """

    def __init__(self, total: int, warmup: float = 0.1) -> None:
        self.total, self.warmup = total, warmup

    def factor(self, step: int, epoch: int) -> float:
        x = step / self.total
        return x / self.warmup if x < self.warmup else max((x - 1) / (self.warmup - 1), 0.0)

    def epoch_end(self, epoch: int, improved: bool) -> None:
        """The rate depends on the step alone."""

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """There is nothing to restore."""
