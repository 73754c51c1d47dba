"""The one training loop, shared by the encoder and the captioner.

A run folder holds the model of the best epoch, ``last/`` with everything needed to go on exactly where it stopped,
and ``metrics.jsonl`` with one line an epoch.
"""

from __future__ import annotations

import json
import pickle
import random
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training import parallel
from training.config import at_least, require
from training.ema import ExponentialMovingAverage
from training.errors import CootmartError
from training.files import atomic_path
from training.memory import give_back_excess, keep_freed_memory
from training.parallel import pick_device as pick_device
from training.progress import Progress
from training.schedule import Schedule


@dataclass(frozen=True)
class LoopConfig:
    """How long to train and which epoch to keep."""

    epochs: int = 100
    """most epochs"""
    validate_from: int = 0
    """first epoch (0-based) that is validated"""
    validate_every: int = 1
    """epochs between validations; the last epoch is always validated"""
    patience: int = 16
    """epochs without a new best after which training stops"""
    min_improvement: float = 1e-4
    """relative gain that makes a new best"""
    clip_gradient: float = 0.0
    """largest norm of the gradient over all parameters; 0 does not clip"""
    ema_decay: float = 0.0
    """decay of the moving average of weights that is validated and kept; 0 keeps the raw weights"""
    bf16: bool = False
    """compute in bfloat16 where that is safe"""
    seed: int = 0
    """seed of initialisation, batch order, sampling and dropout"""

    def __post_init__(self) -> None:
        at_least(self, "loop", 1, "epochs", "validate_every", "patience")
        at_least(self, "loop", 0, "validate_from", "clip_gradient", "seed")
        require(self, "loop", "ema_decay", 0 <= self.ema_decay < 1, "0 or more, below 1")


class Stage(Protocol):
    """What is trained: the loop asks for batches, losses and scores and knows nothing else about it."""

    title: str
    data_parallel: bool
    """whether `batches` are this process's share and `loss` is the joint one (`training.parallel`); False if absent"""
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule

    def batches(self, epoch: int) -> Iterable[Any]:
        """Training batches of an epoch, on the device, the same at every call for the same epoch."""

    def steps_per_epoch(self) -> int: ...

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar to minimise and scalars to log."""

    def validate(self, epoch: int) -> dict[str, float]:
        """Scores of the validation split, with the one to maximise under ``score``."""

    def save(self, folder: Path, metrics: dict[str, float]) -> None:
        """Write the model folder with the weights that the model has now."""


@dataclass
class Progression:
    """Where a run stands."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_score: float = float("-inf")
    seconds: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed every random generator that initialisation, sampling and dropout draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def fit(stage: Stage, config: LoopConfig, run: Path, resume: bool = False) -> list[dict[str, float]]:
    """Train ``stage`` and leave its best epoch in ``run``.

    Args:
        stage: model, data and scores.
        config: epochs, patience, clipping, averaging.
        run: run folder.
        resume: go on from ``run/last`` instead of starting anew.

    Returns:
        One dictionary an epoch: losses, rates, times, and validation scores where it was validated.

    Raises:
        CootmartError: the loss is not finite, there is nothing to resume, or several processes were started for a
            stage that trains in one.
    """
    if parallel.world_size() > 1:
        _start_together(stage, config)
    keep_freed_memory()
    ema = ExponentialMovingAverage(stage.model, config.ema_decay) if config.ema_decay else None
    at, history = Progression(), []
    if resume:
        at, history = _load_last(run, stage, ema)
    total = config.epochs * stage.steps_per_epoch()
    with Progress(stage.title, total, shown=parallel.rank() == 0) as bar:
        bar.advance(at.epoch * stage.steps_per_epoch())
        while at.epoch < config.epochs and not _has_stalled(at, config):
            started = time.monotonic()
            record = {"epoch": at.epoch, **_train_epoch(stage, config, ema, at, bar)}
            record["train_seconds"] = time.monotonic() - started
            if _is_validated(at.epoch, config):
                record.update(_validate(stage, config, ema, at, run))
            at.seconds += time.monotonic() - started
            record["seconds"] = at.seconds
            history.append(record)
            at.epoch += 1
            _save_last(run, stage, ema, at, history)
            bar.advance(0, _describe(record))
    return history


def _has_stalled(at: Progression, config: LoopConfig) -> bool:
    """Whether ``patience`` epochs have gone by since the best one; never before the first validation."""
    return at.best_epoch >= 0 and at.epoch - 1 - at.best_epoch >= config.patience


def _start_together(stage: Stage, config: LoopConfig) -> None:
    if not getattr(stage, "data_parallel", False):
        raise CootmartError(f"{stage.title}: trains in one process; start it without `accelerate launch`")
    torch.manual_seed(config.seed + parallel.rank())  # dropout differs from process to process; the first keeps its own


def _train_epoch(stage: Stage, config: LoopConfig, ema, at: Progression, bar: Progress) -> dict[str, float]:
    stage.model.train()
    sums: dict[str, Tensor] = {}
    device = next(stage.model.parameters()).device
    base_rates = [group.setdefault("base_lr", group["lr"]) for group in stage.optimizer.param_groups]
    for batch in stage.batches(at.epoch):
        factor = stage.schedule.factor(at.step, at.epoch)
        for group, rate in zip(stage.optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * factor
        with torch.autocast(device.type, torch.bfloat16) if config.bf16 else nullcontext():
            loss, parts = stage.loss(batch)
        stage.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parallel.sum_gradients(stage.model)
        if config.clip_gradient > 0:
            torch.nn.utils.clip_grad_norm_(stage.model.parameters(), config.clip_gradient)
        stage.optimizer.step()
        if ema:
            ema.update(stage.model, at.step)
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, 0) + value.detach()  # no .item(): that would wait for the device
        at.step += 1
        if at.step % 4 == 0:
            give_back_excess()
        bar.advance()
    means = {f"train_{name}": float(value) / stage.steps_per_epoch() for name, value in sums.items()}
    if not np.isfinite(means["train_loss"]):
        raise CootmartError(
            f"{stage.title}: the loss of epoch {at.epoch} is {means['train_loss']}; "
            "try a lower optimizer.lr, or loop.clip_gradient=1"
        )
    return means | {"lr": stage.optimizer.param_groups[0]["lr"]}


def _is_validated(epoch: int, config: LoopConfig) -> bool:
    if epoch + 1 == config.epochs:
        return True
    return epoch >= config.validate_from and (epoch - config.validate_from) % config.validate_every == 0


def _validate(stage: Stage, config: LoopConfig, ema, at: Progression, run: Path) -> dict[str, float]:
    started = time.monotonic()
    stage.model.eval()
    with ema.applied(stage.model) if ema else nullcontext():
        with torch.inference_mode():
            metrics = parallel.from_first(lambda: stage.validate(at.epoch))
        improved = at.best_epoch < 0 or metrics["score"] > at.best_score * (1 + config.min_improvement)
        if improved:
            at.best_epoch, at.best_score = at.epoch, metrics["score"]
            if parallel.rank() == 0:
                stage.save(run, metrics)
    stage.schedule.epoch_end(at.epoch, improved)
    scores = {f"val_{name}": value for name, value in metrics.items()}
    return scores | {"best": improved, "val_seconds": time.monotonic() - started}


def _describe(record: dict) -> str:
    text = f"epoch {record['epoch'] + 1}  loss {record['train_loss']:.4g}"
    return text + (f"  val {record['val_score']:.4g}" if "val_score" in record else "")


def _save_last(run: Path, stage: Stage, ema, at: Progression, history: list[dict]) -> None:
    state = {
        "progress": vars(at),
        "history": history,
        "model": stage.model.state_dict(),
        "optimizer": stage.optimizer.state_dict(),
        "schedule": stage.schedule.state_dict(),
        "ema": ema.state_dict() if ema else {},
        "random": parallel.from_all(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        state["random_cuda"] = parallel.from_all(torch.cuda.get_rng_state())
    if parallel.rank():
        return
    with atomic_path(run / "last" / "state.pt") as beside:
        torch.save(state, beside)
    with atomic_path(run / "metrics.jsonl") as beside:
        beside.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict) -> None:
    for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        if missing := own.keys() - saved.keys():
            raise ValueError(f"its optimiser is another one, without {min(missing)}")
    optimizer.load_state_dict(state)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _load_last(run: Path, stage: Stage, ema) -> tuple[Progression, list[dict]]:
    path = run / "last" / "state.pt"
    if not path.exists():
        raise CootmartError(f"{path}: nothing to resume; start without --resume")
    device = next(stage.model.parameters()).device
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        stage.model.load_state_dict(state["model"])
        _load_optimizer(stage.optimizer, state["optimizer"])
        stage.schedule.load_state_dict(state["schedule"])
        if ema:
            ema.load_state_dict(state["ema"])
    except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise CootmartError(
            f"{path}: does not fit this configuration, or is damaged ({_first_line(error)}); resume with the "
            "configuration that the run was started with, or start without --resume"
        ) from None
    if len(state["random"]) != parallel.world_size():
        raise CootmartError(f"{path}: written by {len(state['random'])} processes; resume with as many")
    torch.set_rng_state(state["random"][parallel.rank()].cpu())
    if "random_cuda" in state and torch.cuda.is_available():  # a run may go on where there is no GPU
        torch.cuda.set_rng_state(state["random_cuda"][parallel.rank()].cpu())
    return Progression(**state["progress"]), state["history"]
