"""A run that is killed at any moment goes on as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioner.config import ScstConfig
from tests.captioner.toy import toy_config, write_toy_data
from training import config as configuration

ROOT = Path(__file__).parent.parent.parent
CODE = """
import sys, torch
from pathlib import Path
from captioner.config import CaptionerConfig
from captioner.train import train
from training import config
torch.set_num_threads(1)
train(config.load(CaptionerConfig, sys.argv[1]), Path(sys.argv[2]), resume=sys.argv[3] == "resume")
"""


def start(config: Path, run: Path, how: str) -> subprocess.Popen:
    command = [sys.executable, "-c", CODE, str(config), str(run), how]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def kill_at_random(process: subprocess.Popen, run: Path, moment: float) -> None:
    """SIGKILL at ``moment`` seconds after the first epoch was kept."""
    while not (run / "last" / "state.pt").exists():
        assert process.poll() is None, "ended before its first epoch"
        time.sleep(0.005)
    time.sleep(moment)
    assert process.poll() is None, "ended before it was killed; train longer"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cross-entropy", "self-critical"])
def test_killed_and_resumed_is_bit_for_bit_the_same(tmp_path, how):
    config = toy_config(write_toy_data(tmp_path, 60, 10), epochs=20)
    if how == "self-critical":
        first = replace(config, loop=replace(config.loop, epochs=3))
        configuration.save(first, tmp_path / "first.yaml")
        assert start(tmp_path / "first.yaml", tmp_path / "first", "new").wait() == 0
        config = replace(config, scst=ScstConfig(str(tmp_path / "first"), samples=2))
    configuration.save(config, tmp_path / "config.yaml")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert start(tmp_path / "config.yaml", whole, "new").wait() == 0
    kill_at_random(start(tmp_path / "config.yaml", parts, "new"), parts, random.uniform(0.0, 0.6))
    assert start(tmp_path / "config.yaml", parts, "resume").wait() == 0
    states = [torch.load(run / "last" / "state.pt", weights_only=True) for run in (whole, parts)]
    assert states[0]["progress"]["step"] == states[1]["progress"]["step"] == 20 * 6
    for part in ("model", "ema", "optimizer"):
        assert_equal(states[0][part], states[1][part], part)
    losses = [[record["train_loss"] for record in state["history"]] for state in states]
    assert losses[0] == losses[1]
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


def assert_equal(a: object, b: object, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}.{i}")
    else:
        assert a == b, where
