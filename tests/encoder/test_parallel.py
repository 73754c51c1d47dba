"""Two processes on the CPU compute what one computes on the joint batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from encoder.config import EncoderConfig, ModelConfig
from encoder.data.dataset import Loader, open_split, open_splits
from encoder.train import EncoderStage, train
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, write_tiny
from training import config as configuration
from training import parallel
from training.config import override
from training.errors import CootmartError
from training.loop import seed_everything

ROOT = Path(__file__).parent.parent.parent
CLIPS = (1, 2, 3, 2, 1, 4, 2, 3, 2)


def tiny_config(folder: Path, *overrides: str) -> EncoderConfig:
    """Seven training videos in batches of four and three; no dropout, whose draws differ from process to process."""
    model = ModelConfig(
        video_dim=VIDEO_DIM, text_dim=TEXT_DIM, hidden_size=16, heads=2, ff_size=16, af_hidden=16, dropout=0.0
    )
    return override(EncoderConfig(model=model, data=write_tiny(folder, CLIPS), batch_size=4), overrides)


def losses_and_gradients(config: EncoderConfig) -> list[dict[str, torch.Tensor]]:
    """Joint loss and summed gradients of each batch of the first epoch."""
    seed_everything(config.loop.seed)
    stage = EncoderStage(config, *open_splits(config.data, VIDEO_DIM, TEXT_DIM), torch.device("cpu"))
    found = []
    for batch in stage.batches(0):
        torch.manual_seed(1)  # the same draw of cycle positions everywhere
        stage.model.zero_grad()
        loss, _ = stage.loss(batch)
        loss.backward()
        parallel.sum_gradients(stage.model)
        gradients = {name: p.grad.clone() for name, p in stage.model.named_parameters() if p.grad is not None}
        found.append({"loss": loss.detach(), **gradients})
    return found


def main(folder: str) -> None:
    """One of the two processes: every configuration in ``folder``."""
    for path in sorted(Path(folder).glob("*.yaml")):
        found = losses_and_gradients(configuration.load(EncoderConfig, path))
        torch.save(found, path.with_suffix(f".{parallel.rank()}"))


def run_two(*arguments: str) -> list[str]:
    """``python <arguments>`` twice, as ranks 0 and 1 of one group, with the variables that launchers set."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    shared |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "LOCAL_WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


VARIANTS = {
    "published": (),
    "mean": ("model.global_pooler=mean", "data.border_noise=0.2"),
    "hse": ("model.network=hse", "loss.context=0.0", "loss.high=0.0", "loss.high_cluster=0.0"),
}


def test_loss_and_gradients_are_those_of_the_joint_batch(tmp_path):
    for name, changes in VARIANTS.items():
        configuration.save(tiny_config(tmp_path, *changes), tmp_path / f"{name}.yaml")
    run_two("-m", "tests.encoder.test_parallel", str(tmp_path))
    for name in VARIANTS:
        alone = losses_and_gradients(configuration.load(EncoderConfig, tmp_path / f"{name}.yaml"))
        assert len(alone) == 2
        for rank in (0, 1):
            together = torch.load(tmp_path / f"{name}.{rank}", weights_only=True)
            for one, two in zip(alone, together, strict=True):
                assert one.keys() == two.keys()
                for key in one:
                    torch.testing.assert_close(two[key], one[key], atol=1e-5, rtol=1e-5, msg=f"{name}: {key}")


def test_a_launched_training_gives_the_weights_of_a_single_one(tmp_path):
    changes = ("loss.cycle_consistency=0.0", "optimizer.name=adam", "optimizer.eps=1e-3", "loop.epochs=3")
    configuration.save(tiny_config(tmp_path, *changes), tmp_path / "c.yaml")
    command = [str(ROOT / "scripts" / "train_encoder.py"), str(tmp_path / "c.yaml"), "--out"]
    first, second = run_two(*command, str(tmp_path / "two"))
    assert "scores of the best epoch" in first and second == ""
    subprocess.run([sys.executable, *command, str(tmp_path / "one")], check=True, capture_output=True)
    one, two = (load_file(tmp_path / run / "model.safetensors") for run in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=1e-4, msg=name)
    assert {p.name for p in (tmp_path / "two").iterdir()} == {p.name for p in (tmp_path / "one").iterdir()}
    with pytest.raises(CootmartError, match="written by 2 processes"):
        train(configuration.load(EncoderConfig, tmp_path / "c.yaml"), tmp_path / "two", resume=True)


def test_shares_of_a_batch_in_order(tmp_path):
    data = open_split(write_tiny(tmp_path, CLIPS), "train", random_frames=True)
    whole = list(Loader(data, 4, shuffle=True).epoch(2))
    shares = [list(Loader(data, 4, shuffle=True, part=part, parts=2).epoch(2)) for part in (0, 1)]
    for joint, a, b in zip(whole, *shares, strict=True):
        assert a.keys + b.keys == joint.keys
        assert a.width == b.width == int(joint.clip_num.max())
        assert torch.equal(torch.cat([a.clip.values, b.clip.values]), joint.clip.values)
    with pytest.raises(CootmartError, match="a batch has 1 of 7 videos, fewer than the 2 processes"):
        Loader(data, 3, parts=2)


if __name__ == "__main__":
    main(sys.argv[1])
