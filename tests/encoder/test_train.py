"""Training of the encoder: what its stage gives the shared loop."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch

from encoder.config import EncoderConfig, LossConfig, ModelConfig
from encoder.data.dataset import open_splits
from encoder.data.ragged import Ragged
from encoder.losses import coot_loss
from encoder.train import EncoderStage, train
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, write_tiny
from training.config import override
from training.errors import CootmartError

MODEL = ModelConfig(video_dim=VIDEO_DIM, text_dim=TEXT_DIM, hidden_size=16, heads=2, ff_size=16, af_hidden=16)


@pytest.fixture
def config(tmp_path) -> EncoderConfig:
    return EncoderConfig(model=MODEL, data=write_tiny(tmp_path), batch_size=5)


def test_embeddings_are_compared_in_float32(config):
    stage = EncoderStage(config, *open_splits(config.data, VIDEO_DIM, TEXT_DIM), torch.device("cpu"))
    (batch,) = stage.batches(0)
    output = stage.model.eval()(batch)
    stage.model.forward = lambda batch: output
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = stage.loss(batch)
    torch.manual_seed(0)
    expected, _ = coot_loss(output, config.loss)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_validation_lets_features_go(config):
    stage = EncoderStage(config, *open_splits(config.data, VIDEO_DIM, TEXT_DIM), torch.device("cpu"))
    (batch,) = stage.batches(0)
    alive: list[int] = []
    seen: list[weakref.ref] = []

    def batches():
        for i in range(6):
            keys = [f"{key}-{i}" for key in batch.keys]
            copy = replace(batch, keys=keys, vid=Ragged(batch.vid.values.clone(), batch.vid.lengths))
            seen.append(weakref.ref(copy.vid.values))
            yield copy
            del copy
            alive.append(sum(ref() is not None for ref in seen))

    stage.val_batches = batches()
    stage.model.eval()
    with torch.no_grad():
        stage.validate(0)
    assert len(alive) == 6 and max(alive) <= 2, "features of earlier batches are gone"


@pytest.mark.parametrize("model", ["network=coot", "network=hse", "local_pooler=cls"])
def test_bfloat16_learns_what_float32_learns(config, model, tmp_path):
    runs = [override(config, [f"model.{model}", "loop.epochs=2", f"loop.bf16={bf16}"]) for bf16 in ("false", "true")]
    exact, coarse = ([epoch["train_loss"] for epoch in train(run, tmp_path / "run")] for run in runs)
    assert exact != coarse and coarse == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    "wrong", ["score=clips", "batch_size=0", "schedule.warmup=epochs", "data.max_frames=0", "optimizer.beta2=1.0"]
)
def test_wrong_options_are_named_before_training(config, wrong):
    name, _, value = wrong.partition("=")
    with pytest.raises(CootmartError, match=rf"override: (encoder\.)?{name}: found '?{value}'?, expected"):
        override(config, [wrong])


def test_some_loss_is_needed():
    with pytest.raises(CootmartError, match=r"loss\.high: found 0, expected some weight above 0"):
        LossConfig(high=0, low=0, context=0, high_cluster=0, low_cluster=0, cycle_consistency=0)


def test_one_video_of_one_clip(config, tmp_path):
    """Nothing to compare with: the loss is zero, and the run is as good as any."""
    data = write_tiny(tmp_path / "one", clips=(1, 1, 1))
    one = override(config, ["loop.epochs=2", f"data.meta={data.meta}", f"data.video_features={data.video_features}"])
    one = override(one, [f"data.text_features={data.text_features}", "batch_size=1"])
    assert [epoch["train_loss"] for epoch in train(one, tmp_path / "run")] == [0, 0]
