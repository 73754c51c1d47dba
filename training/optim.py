"""The two published optimisers that torch does not have, and the split of parameters for weight decay.

Both update all tensors of a group with multi-tensor operations instead of a Python loop over parameters.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.config import at_least, require
from training.errors import CootmartError


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and its constants; the defaults are those of COOT on YouCook2."""

    name: str = "radam"
    """radam | adam | bertadam"""
    lr: float = 9e-4
    """learning rate before the schedule"""
    beta1: float = 0.56
    """decay of the first moment"""
    beta2: float = 0.98
    """decay of the second moment"""
    eps: float = 1.5e-9
    """added to the root of the second moment"""
    weight_decay: float = 0.0
    """weight decay of the decayed parameters"""

    def __post_init__(self) -> None:
        at_least(self, "optimizer", 0, "lr", "eps", "weight_decay")
        for name in ("beta1", "beta2"):
            require(self, "optimizer", name, 0 <= getattr(self, name) < 1, "0 or more, below 1")


class _Adaptive(torch.optim.Optimizer):
    """State keeping that RAdam and BertAdam share: two moments and a step count for each tensor."""

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            by_step: dict[int, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if not state:
                        state.update(step=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                    by_step[state["step"]].append(p)
                    state["step"] += 1
            for step, parameters in by_step.items():
                m = [self.state[p]["m"] for p in parameters]
                v = [self.state[p]["v"] for p in parameters]
                self._update(group, step, parameters, [p.grad for p in parameters], m, v)

    @staticmethod
    def _moments(group: dict, grads: list[Tensor], m: list[Tensor], v: list[Tensor]) -> None:
        torch._foreach_lerp_(m, grads, 1 - group["beta1"])
        torch._foreach_mul_(v, group["beta2"])
        torch._foreach_addcmul_(v, grads, grads, value=1 - group["beta2"])

    @staticmethod
    def _root(v: list[Tensor], eps: float) -> list[Tensor]:
        root = torch._foreach_sqrt(v)
        torch._foreach_add_(root, eps)
        return root


class RAdam(_Adaptive):
    """Rectified Adam as COOT trains with it; not `torch.optim.RAdam`.

    With ``N_max = 2/(1-β2) - 1`` and ``N_t = N_max - 2tβ2^t/(1-β2^t)``: no update at all while ``N_t < 5``; then a
    decoupled decay ``p -= wd lr p`` and ``p -= lr r_t m / (sqrt(v) + eps)`` with
    ``r_t = sqrt((1-β2^t) (N_t-4)/(N_max-4) (N_t-2)/N_t N_max/(N_max-2)) / (1-β1^t)`` and uncorrected moments.
    """

    def __init__(self, params: Iterable, lr: float, beta1: float, beta2: float, eps: float) -> None:
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": 0.0})

    def _update(self, group: dict, step: int, params: list, grads: list, m: list, v: list) -> None:
        self._moments(group, grads, m, v)
        rate = self.rectified_rate(step + 1, group["beta1"], group["beta2"])
        if rate is None:
            return
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - group["weight_decay"] * group["lr"])
        torch._foreach_addcdiv_(params, m, self._root(v, group["eps"]), value=-group["lr"] * rate)

    @staticmethod
    def rectified_rate(t: int, beta1: float, beta2: float) -> float | None:
        """``r_t`` at update t = 1, 2, ..., or None while the variance is not tractable."""
        power = beta2**t
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * power / (1 - power)
        if length < 5:
            return None
        ratio = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
        return math.sqrt((1 - power) * ratio) / (1 - beta1**t)


class BertAdam(_Adaptive):
    """Adam of BERT: no bias correction, eps outside the root, decay added to the update, gradients of norm <= 1.

    ``m, v`` as in Adam; ``u = m / (sqrt(v) + eps) + wd p``; ``p -= lr u``.
    """

    def __init__(self, params: Iterable, lr: float, beta1: float, beta2: float, eps: float) -> None:
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": 0.0})

    def _update(self, group: dict, step: int, params: list, grads: list, m: list, v: list) -> None:
        norms = torch._foreach_norm(grads)
        scales = (1.0 / (torch.stack(norms) + 1e-6)).clamp(max=1.0)
        self._moments(group, torch._foreach_mul(grads, list(scales.unbind())), m, v)
        update = torch._foreach_div(m, self._root(v, group["eps"]))
        if group["weight_decay"]:
            torch._foreach_add_(update, params, alpha=group["weight_decay"])
        torch._foreach_add_(params, update, alpha=-group["lr"])


def parameter_groups(model: nn.Module, weight_decay: float, undecayed: tuple[str, ...]) -> list[dict]:
    """Two groups, with and without decay; a name that contains one of ``undecayed`` is not decayed."""
    decayed, spared = [], []
    for name, parameter in model.named_parameters():
        (spared if any(part in name for part in undecayed) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(
    model: nn.Module, config: OptimizerConfig, undecayed: tuple[str, ...] = ("bias",)
) -> torch.optim.Optimizer:
    """Optimiser of a configuration over all parameters of ``model``.

    Raises:
        CootmartError: unknown name.
    """
    groups = parameter_groups(model, config.weight_decay, undecayed)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.lr, (config.beta1, config.beta2), config.eps)
    classes = {"radam": RAdam, "bertadam": BertAdam}
    if config.name not in classes:
        raise CootmartError(f"optimizer.name: found {config.name!r}, expected radam, adam or bertadam")
    return classes[config.name](groups, config.lr, config.beta1, config.beta2, config.eps)
