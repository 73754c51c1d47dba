"""Training of the COOT encoder: what the shared loop needs to know about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from encoder.config import EncoderConfig
from encoder.data.dataset import EncoderDataset, open_split
from encoder.data.ragged import Batch
from encoder.embed import embed
from encoder.folder import encoder_card, save_encoder
from encoder.losses import coot_loss
from encoder.model import build_model
from encoder.retrieval import retrieval
from training.errors import CootmartError
from training.loop import fit, pick_device, seed_everything
from training.optim import build_optimizer
from training.schedule import Plateau

SCORES = {"clip_sentence": ("clip2sent_r1", "sent2clip_r1"), "video_paragraph": ("vid2par_r1", "par2vid_r1")}


class EncoderStage:
    """Model, data and scores of one encoder run (a `training.loop.Stage`)."""

    title = "encoder"

    def __init__(self, config: EncoderConfig, train: EncoderDataset, val: EncoderDataset, device: torch.device):
        if config.score not in SCORES:
            raise CootmartError(f"score: found {config.score!r}, expected one of {', '.join(SCORES)}")
        self.config, self.train_data, self.val_data, self.device = config, train, val, device
        self.model = build_model(config.model).to(device)
        self.optimizer = build_optimizer(self.model, config.optimizer)
        self.schedule = Plateau(config.schedule, self.steps_per_epoch())

    def steps_per_epoch(self) -> int:
        return -(-len(self.train_data) // self.config.batch_size)

    def batches(self, epoch: int) -> Iterator[Batch]:
        seed = (self.config.loop.seed, epoch)
        return (b.to(self.device) for b in self.train_data.batches(self.config.batch_size, shuffle_seed=seed))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return coot_loss(self.model(batch), self.config.loss)

    def validate(self, epoch: int) -> dict[str, float]:
        """Retrieval of the validation split in both directions, R@1 and so on in per cent."""
        batches = self.val_data.batches(self.config.batch_size)
        metrics = retrieval(embed(self.model, batches, self.device))
        names = SCORES[self.config.score]
        return {"score": sum(metrics[name] for name in names) / len(names), **metrics}

    def save(self, folder: Path, metrics: dict[str, float]) -> None:
        save_encoder(folder, self.model, self.config, encoder_card(self.config, metrics))


def train(config: EncoderConfig, run: Path, resume: bool = False) -> list[dict[str, float]]:
    """Train an encoder as ``config`` says; the best epoch's model folder is ``run``.

    Returns:
        One dictionary an epoch, see `training.loop.fit`.

    Raises:
        CootmartError: files are missing or do not fit together, or the loss is not finite.
    """
    seed_everything(config.loop.seed)
    data = (open_split(config.data, split) for split in (config.data.train_split, config.data.val_split))
    return fit(EncoderStage(config, *data, pick_device()), config.loop, Path(run), resume)
