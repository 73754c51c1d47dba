"""The training loop: best epoch, early stop, averaged weights, and a resume that changes nothing."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from training import parallel
from training.errors import CootmartError
from training.loop import LoopConfig, fit, seed_everything
from training.schedule import WarmupLinear


class Line:
    """Fits y = 2x with a noisy (dropout) linear layer; validation scores are given or measured."""

    title = "line"

    def __init__(self, scores=None, target=2.0, steps=6):
        seed_everything(3)
        self.model = nn.Sequential(nn.Dropout(0.3), nn.Linear(1, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.schedule = WarmupLinear(total=60)
        self.scores, self.target, self.steps, self.saved = scores, target, steps, []

    def batches(self, epoch):
        generator = torch.Generator().manual_seed(epoch)
        return (torch.rand(8, 1, generator=generator) for _ in range(self.steps))

    def steps_per_epoch(self):
        return self.steps

    def loss(self, batch):
        loss = (self.model(batch) - self.target * batch).square().mean()
        return loss, {"twice": 2 * loss}

    def validate(self, epoch):
        weight = float(self.model[1].weight.detach())
        return {"score": self.scores[epoch] if self.scores else -abs(2 - weight), "weight": weight}

    def save(self, folder, metrics):
        self.saved.append(metrics["score"])
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.model.state_dict(), folder / "model.pt")


def test_keeps_the_best_epoch_and_stops_early(tmp_path):
    stage = Line(scores=[1.0, 3.0, 2.0, 2.9, 1.0, 9.0])
    history = fit(stage, LoopConfig(epochs=6, patience=3), tmp_path)
    assert stage.saved == [1.0, 3.0]
    assert len(history) == 5, "three epochs without a gain, then it stops"
    assert history[0]["train_twice"] == pytest.approx(2 * history[0]["train_loss"])


def test_validates_when_told(tmp_path):
    history = fit(Line(), LoopConfig(epochs=6, validate_from=1, validate_every=2), tmp_path)
    assert ["val_score" in record for record in history] == [False, True, False, True, False, True]
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(6))


def test_patience_waits_for_the_first_validation(tmp_path):
    stage = Line()
    history = fit(stage, LoopConfig(epochs=9, validate_from=7, patience=2), tmp_path)
    assert len(history) == 9 and stage.saved


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"validate_every": 0}, {"patience": 0}, {"ema_decay": 1.0}, {"seed": -1}]
)
def test_wrong_options(wrong):
    with pytest.raises(CootmartError, match=rf"loop\.{next(iter(wrong))}: found"):
        LoopConfig(**wrong)


def test_averaged_weights_are_scored_and_raw_weights_go_on(tmp_path):
    averaged = Line()
    scored = fit(averaged, LoopConfig(epochs=3, ema_decay=0.9), tmp_path / "a")
    raw = Line()
    plain = fit(raw, LoopConfig(epochs=3), tmp_path / "b")
    assert averaged.model[1].weight.equal(raw.model[1].weight)
    assert scored[-1]["val_weight"] != plain[-1]["val_weight"]


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_resume_changes_nothing(tmp_path, decay):
    whole = Line()
    expected = fit(whole, LoopConfig(epochs=5, ema_decay=decay, clip_gradient=0.1), tmp_path / "whole")
    fit(Line(), LoopConfig(epochs=2, ema_decay=decay, clip_gradient=0.1), tmp_path / "parts")
    torch.rand(7)  # another process would have drawn other numbers
    resumed = Line()
    found = fit(resumed, LoopConfig(epochs=5, ema_decay=decay, clip_gradient=0.1), tmp_path / "parts", resume=True)
    assert resumed.model[1].weight.equal(whole.model[1].weight)
    timeless = [{k: v for k, v in record.items() if "seconds" not in k} for record in (*expected, *found)]
    assert timeless[:5] == timeless[5:]


def test_loss_that_is_not_finite(tmp_path):
    with pytest.raises(CootmartError, match="line: the loss of epoch 0 is nan"):
        fit(Line(target=float("nan")), LoopConfig(epochs=2), tmp_path)


def test_another_run_is_not_resumed(tmp_path):
    fit(Line(), LoopConfig(epochs=1), tmp_path)
    wider, other, averaged = Line(), Line(), LoopConfig(epochs=2, ema_decay=0.9)
    wider.model = nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 1))
    other.optimizer = torch.optim.SGD(other.model.parameters(), lr=0.05)
    for stage, config in ((wider, LoopConfig(epochs=2)), (other, LoopConfig(epochs=2)), (Line(), averaged)):
        with pytest.raises(CootmartError, match=r"state\.pt: does not fit this configuration"):
            fit(stage, config, tmp_path, resume=True)
    (tmp_path / "last" / "state.pt").write_bytes(b"no state")
    with pytest.raises(CootmartError, match=r"state\.pt: does not fit .*damaged"):
        fit(Line(), LoopConfig(epochs=2), tmp_path, resume=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")
def test_a_run_of_a_gpu_goes_on_without_one(tmp_path):
    fit(Line(), LoopConfig(epochs=1), tmp_path)
    path = tmp_path / "last" / "state.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "random_cuda": [torch.zeros(16, dtype=torch.uint8)]}, path)
    assert len(fit(Line(), LoopConfig(epochs=2), tmp_path, resume=True)) == 2


def test_nothing_to_resume(tmp_path):
    with pytest.raises(CootmartError, match="nothing to resume"):
        fit(Line(), LoopConfig(), tmp_path, resume=True)


def test_a_stage_for_one_process_is_not_started_by_two(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "world_size", lambda: 2)
    with pytest.raises(CootmartError, match="line: trains in one process"):
        fit(Line(), LoopConfig(), tmp_path)
