"""Training of the COOT encoder: what the shared loop needs to know about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from encoder.config import EncoderConfig
from encoder.data.dataset import EncoderDataset, Loader, open_splits
from encoder.data.ragged import Batch
from encoder.embed import gather
from encoder.folder import encoder_card, save_encoder
from encoder.losses import coot_loss, mean_position
from encoder.model import CootOutput, ModalityOutput, build_model
from encoder.retrieval import best_epoch_score, evaluate
from encoder.unseen import learn_from_videos
from training import parallel
from training.loop import fit, pick_device, seed_everything
from training.optim import build_optimizer
from training.schedule import Plateau


class EncoderStage:
    """Model, data and scores of one encoder run (a `training.loop.Stage`)."""

    title = "encoder"
    data_parallel = True

    def __init__(self, config: EncoderConfig, train: EncoderDataset, val: EncoderDataset, device: torch.device):
        self.config, self.device = config, device
        share = {"part": parallel.rank(), "parts": parallel.world_size()}
        self.train_batches = Loader(train, config.batch_size, shuffle=True, seed=config.loop.seed, **share)
        self.val_batches = Loader(val, config.batch_size)
        self.model = build_model(config.model).to(device)
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.schedule = Plateau(config.schedule, self.steps_per_epoch())

    def steps_per_epoch(self) -> int:
        return len(self.train_batches)

    def batches(self, epoch: int) -> Iterator[Batch]:
        return (batch.to(self.device) for batch in self.train_batches.epoch(epoch))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        output = gather_output(self.model(batch))
        with torch.autocast(self.device.type, enabled=False):  # bfloat16 is too coarse to compare embeddings
            return coot_loss(output, self.config.loss)

    def validate(self, epoch: int) -> dict[str, float]:
        """Loss and retrieval scores of the validation split; recalls are fractions."""
        losses: list[Tensor] = []

        def outputs() -> Iterator[tuple[Batch, CootOutput]]:  # one at a time: the features of all need not fit
            for batch in (batch.to(self.device) for batch in self.val_batches):
                output = self.model(batch)
                losses.append(coot_loss(output, self.config.loss, mean_position)[0])
                yield batch, output

        metrics = evaluate(gather(outputs(), "validation"))
        score = best_epoch_score(metrics, self.config.score)
        return {"score": score, "loss": float(torch.stack(losses).mean()), **metrics}

    def save(self, folder: Path, metrics: dict[str, float]) -> None:
        save_encoder(folder, self.model, self.config, encoder_card(self.config, metrics))


def gather_output(output: CootOutput) -> CootOutput:
    """The embeddings of all processes' shares of a batch, so that every video and clip is a negative of every other.

    In float32, whatever the networks computed in.
    """

    def joint(own: ModalityOutput) -> ModalityOutput:
        return ModalityOutput(*(parallel.gather_rows(x.float()) for x in (own.high, own.low, own.context)))

    return CootOutput(joint(output.video), joint(output.text), parallel.gather_rows(output.clip_num))


def train(config: EncoderConfig, run: Path, resume: bool = False) -> list[dict[str, float]]:
    """Train an encoder as ``config`` says; the best epoch's model folder is ``run``.

    Returns:
        One dictionary an epoch, see `training.loop.fit`.

    Raises:
        CootmartError: files are missing or do not fit together, or the loss is not finite.
    """
    seed_everything(config.loop.seed)
    data = open_splits(config.data, config.model.video_dim, config.model.text_dim)
    history = fit(EncoderStage(config, *data, pick_device()), config.loop, Path(run), resume)
    if parallel.rank() == 0:
        learn_from_videos(run, data[0].videos, data[0].frames, config.loop.seed)
    return history
