"""Optimisers, schedules and the weight average follow the published trajectories."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.golden_cases import cases, golden_dir
from training.ema import ExponentialMovingAverage
from training.optim import BertAdam, OptimizerConfig, build_optimizer, parameter_groups
from training.schedule import Plateau, PlateauConfig, WarmupLinear

pytestmark = pytest.mark.golden


def published(part: str, member: str) -> list:
    """Cases below ``part`` that have ``member``, whatever they are called."""
    found = [json.loads(path.read_text()).get(part, {}).items() for path in cases("coot", "optim*.json")]
    return [pytest.param(case, id=name) for file in found for name, case in file if member in case]


def test_there_are_cases():
    assert published("optimizer", "trajectory") and published("scheduler", "rows")
    assert published("scheduler", "lr_per_step")


@pytest.mark.parametrize("case", published("optimizer", "trajectory"))
def test_encoder_optimisers(case):
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.tensor(case["p0"]))
    beta1, beta2 = case["betas"]
    config = OptimizerConfig(case["name"], case["lr"], beta1, beta2, case["eps"], float(case["weight_decay"]))
    optimizer = build_optimizer(module, config)
    for grad, expected in zip(case["grads"], case["trajectory"], strict=True):
        module.weight.grad = torch.tensor(grad)
        optimizer.step()
        torch.testing.assert_close(module.weight.data, torch.tensor(expected), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("path", cases("mart", "bertadam_*.json"), ids=lambda p: p.stem)
def test_bertadam(path):
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    names = info["decay_names"] + info["no_decay_names"]
    # the first update has rate 0, so the weights after it are the initial ones
    parameters = {name: torch.nn.Parameter(tensors[f"param/0/{name}"].clone()) for name in names}
    groups = [
        {"params": [parameters[n] for n in info["decay_names"]], "weight_decay": info["weight_decay"]},
        {"params": [parameters[n] for n in info["no_decay_names"]], "weight_decay": 0.0},
    ]
    optimizer = BertAdam(groups, info["lr"], info["b1"], info["b2"], info["eps"])
    schedule = WarmupLinear(info["t_total"], info["warmup"])
    for step in range(info["steps"]):
        rate = info["lr"] * schedule.factor(step, 0)
        assert rate == pytest.approx(info["lr_used_per_step"][step], abs=1e-12)
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, parameter in parameters.items():
            parameter.grad = tensors[f"grad/{step}/{name}"].clone()
        if info["global_clip"] > 0:
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), info["global_clip"])
        optimizer.step()
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.data, tensors[f"param/{step}/{name}"], atol=1e-5, rtol=1e-5)


def test_bertadam_decay_split():
    for path in cases("mart", "bertadam_*.json"):
        info = json.loads(path.read_text())
        module = torch.nn.Module()
        for name in info["decay_names"] + info["no_decay_names"]:
            module.register_parameter(name.replace(".", "/"), torch.nn.Parameter(torch.zeros(1)))
        groups = parameter_groups(module, 0.01, ("bias", "LayerNorm/bias", "LayerNorm/weight"))
        assert [len(group["params"]) for group in groups] == [
            len(info["decay_names"]),
            len(info["no_decay_names"]),
        ]


@pytest.mark.parametrize("path", cases("mart", "ema_*.json"), ids=lambda p: p.stem)
def test_moving_average(path):
    info, tensors = json.loads(path.read_text()), load_file(path.with_suffix(".safetensors"))
    model = torch.nn.Module()
    names = sorted({key.split("/", 2)[2] for key in tensors if key.startswith("param/")})
    for name in names:
        model.register_parameter(name.replace(".", "_"), torch.nn.Parameter(tensors[f"param/0/{name}"].clone()))
    ema = ExponentialMovingAverage(model, info["decay"])
    ema.load_state_dict({name.replace(".", "_"): tensors[f"shadow/0/{name}"] for name in names})
    for step in range(1, info["steps"]):
        for name in names:
            getattr(model, name.replace(".", "_")).data.copy_(tensors[f"param/{step}/{name}"])
        ema.update(model, info["first_step_index"] + step)
        for name in names:
            found = ema.state_dict()[name.replace(".", "_")]
            torch.testing.assert_close(found, tensors[f"shadow/{step}/{name}"], atol=1e-6, rtol=1e-6)


def test_moving_average_lends_and_returns():
    model = torch.nn.Linear(3, 2)
    raw = model.weight.detach().clone()
    ema = ExponentialMovingAverage(model, 0.9)
    ema.shadow[0].fill_(7.0)
    with ema.applied(model):
        assert bool((model.weight == 7).all())
    torch.testing.assert_close(model.weight.data, raw)


@pytest.mark.parametrize("case", published("scheduler", "rows"))
def test_plateau(case):
    cfg = case["cfg"]
    config = PlateauConfig(
        factor=cfg["rop_factor"],
        patience=cfg["rop_patience"],
        cooldown=cfg["rop_cooldown"],
        warmup_epochs=cfg["warmup_epochs"],
        warmup=cfg["warmup_type"],
    )
    schedule, step = Plateau(config, case["steps_per_epoch"]), 0
    base = case["rows"][0]["lr_used_in_epoch"][0] / schedule.factor(0, 0)
    for row in case["rows"]:
        for rate in row["lr_used_in_epoch"]:
            assert base * schedule.factor(step, row["epoch"]) == pytest.approx(rate, rel=1e-9)
            step += 1
        if row["validated"]:
            schedule.epoch_end(row["epoch"], row["improved"])


@pytest.mark.parametrize("case", published("scheduler", "lr_per_step"))
def test_warm_up(case):
    per_epoch = case["steps_per_epoch"]
    first, epochs = case["lr_per_step"][0] / case["base_lr"], case["warmup_epochs"]
    kind = "epoch" if first == pytest.approx(1 / epochs) else "step"
    schedule = Plateau(PlateauConfig(warmup_epochs=epochs, warmup=kind), per_epoch)
    for step, rate in enumerate(case["lr_per_step"]):
        assert case["base_lr"] * schedule.factor(step, step // per_epoch) == pytest.approx(rate, rel=1e-9)


def test_warmup_linear_table():
    info = json.loads((golden_dir("mart") / "schedules.json").read_text())
    names = [name.partition("/") for name in info["table"]]
    warmups = [warmup for kind, _, warmup in names if kind == "warmup_linear" and float(warmup) > 0]
    assert warmups
    for warmup in warmups:
        schedule = WarmupLinear(info["t_total"], float(warmup))
        for step, expected in enumerate(info["table"][f"warmup_linear/{warmup}"]):
            assert schedule.factor(step, 0) == pytest.approx(expected, abs=1e-12)
