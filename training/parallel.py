"""Training by several processes at once, as `accelerate launch` starts them; in a single process nothing changes.

Each process computes the embeddings (or whatever a loss compares) of its share of a batch, gathers those of the
others, and computes the same joint loss. Its backward pass reaches its own share alone, so the *sum* of all
processes' gradients is the gradient of the joint loss.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process from 0; the first one writes files and shows progress."""
    return _state().process_index if world_size() > 1 else 0


def pick_device() -> torch.device:
    """The GPU of this process if there is one, else the CPU."""
    if world_size() > 1:
        return _state().device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def _state() -> PartialState:
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available())
    atexit.register(state.destroy_process_group)
    return state


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all processes in their order: own ones (n, ...) with their gradient, the others' without.

    The processes may have different numbers of rows.
    """
    if world_size() == 1:
        return x
    from accelerate.utils import gather

    counts = gather(torch.tensor([len(x)], device=x.device)).tolist()
    padded = x.new_zeros(max(counts), *x.shape[1:])
    padded[: len(x)] = x.detach()
    parts = [part[:n] for part, n in zip(gather(padded).chunk(len(counts)), counts, strict=True)]
    parts[rank()] = x
    return torch.cat(parts)


def sum_gradients(model: nn.Module) -> None:
    """Replace every gradient of ``model`` by its sum over all processes."""
    if world_size() == 1:
        return
    from accelerate.utils import reduce

    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    total = reduce(torch.cat([gradient.flatten() for gradient in gradients]), "sum")
    for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def from_first(compute: Callable[[], T]) -> T:
    """What ``compute`` gives in the first process; the others wait for it and compute nothing."""
    if world_size() == 1:
        return compute()
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([compute() if rank() == 0 else None])[0]


def from_all(value: Any) -> list[Any]:
    """The ``value`` of every process, in their order."""
    if world_size() == 1:
        return [value]
    from accelerate.utils import gather_object

    return gather_object([value])
