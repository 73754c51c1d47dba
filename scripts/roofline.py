"""The least time that matrix products can take on this machine: by its matrix rate, or by reading their operands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from training.linear import linear


@dataclass(frozen=True)
class Rates:
    """What the machine can do with the threads torch has."""

    flops: float  # float32 operations a second in products of (2048, n) and (n, n)
    read: float  # bytes a second

    @classmethod
    @torch.inference_mode()
    def measure(cls, width: int) -> Rates:
        """The best of several runs, products of matrices ``width`` wide."""
        x, weight, large = torch.randn(2048, width), torch.randn(width, width), torch.ones(1 << 26)
        return cls(2 * x.numel() * width / _shortest(lambda: linear(x, weight)), large.nbytes / _shortest(large.sum))


def _shortest(work: Callable, turns: int = 9) -> float:
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


class Products(TorchDispatchMode):
    """Inside, matrix products are counted; torch's own, so oneDNN has to be off."""

    def __init__(self, rates: Rates) -> None:
        super().__init__()
        self.rates, self.flops, self.floor = rates, 0, 0.0  # the floor in seconds

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, count = kwargs or {}, flop_registry.get(op._overloadpacket)
        if count is None:
            with self:  # what is inside of a linear layer or an einsum
                out = op.decompose(*args, **kwargs)
            return op(*args, **kwargs) if out is NotImplemented else out
        out = op(*args, **kwargs)
        flops = count(*args, **kwargs, out_val=out)
        read = sum(x.nbytes for x in args if isinstance(x, Tensor))
        self.flops += flops
        self.floor += max(flops / self.rates.flops, read / self.rates.read)
        return out
