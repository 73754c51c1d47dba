"""The encoder's model folder: configuration, weights and a card; nothing else is needed to use it."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from encoder.config import EncoderConfig
from encoder.model import PairEncoder, build_model
from training import config as configuration
from training.errors import CootmartError
from training.files import atomic_path


def save_encoder(folder: str | Path, model: PairEncoder, config: EncoderConfig, card: str) -> None:
    """Write ``config.yaml``, ``model.safetensors`` and ``README.md`` to ``folder``."""
    folder = Path(folder)
    configuration.save(config, folder / "config.yaml")
    with atomic_path(folder / "model.safetensors") as beside:
        save_file({k: v.detach().contiguous().cpu() for k, v in model.state_dict().items()}, beside)
    with atomic_path(folder / "README.md") as beside:
        beside.write_text(card, encoding="utf-8")


def load_encoder(folder: str | Path, device: str | torch.device = "cpu") -> tuple[PairEncoder, EncoderConfig]:
    """The model, ready to embed, and its configuration.

    Raises:
        CootmartError: ``folder`` is not an encoder's model folder.
    """
    folder = Path(folder)
    for name in ("config.yaml", "model.safetensors"):
        if not (folder / name).exists():
            raise CootmartError(f"{folder}: no {name}; expected the folder that `cootmart train encoder` leaves")
    config = configuration.load(EncoderConfig, folder / "config.yaml")
    model = build_model(config.model)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except SafetensorError as error:
        raise CootmartError(f"{folder}/model.safetensors: damaged ({error}); copy or train it again") from None
    except RuntimeError as error:
        raise CootmartError(f"{folder}: config.yaml and model.safetensors do not fit: {error}") from None
    return model.to(device).eval(), config


def encoder_card(config: EncoderConfig, metrics: dict[str, float]) -> str:
    """A short model card: what it was trained on, and the scores of its best epoch."""
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return (
        "# COOT encoder\n\n"
        f"Trained on `{config.data.meta}` (split `{config.data.train_split}`, seed {config.loop.seed}), frame "
        f"features `{config.features.backbone}` at {config.features.fps:g} a second, validated on split "
        f"`{config.data.val_split}`.\n\n| validation | best epoch |\n|---|---|\n{rows}\n"
    )
