"""The captioner's model folder: configuration, weights, vocabulary and a card; nothing else is needed to use it."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from captioner.config import CaptionerConfig
from captioner.models import Captioner, build_model
from captioner.vocabulary import Vocabulary
from training import config as configuration
from training.errors import CootmartError
from training.files import atomic_path

FILES = ("config.yaml", "model.safetensors", "vocabulary.json")


def save_captioner(
    model: Captioner, vocabulary: Vocabulary, config: CaptionerConfig, folder: str | Path, card: str
) -> None:
    """Write ``config.yaml``, ``model.safetensors``, ``vocabulary.json`` and ``README.md`` to ``folder``.

    The encoder's model folder named by ``config.data.encoder`` is copied to ``folder/encoder``.
    """
    folder = Path(folder)
    if config.data.encoder:
        _copy_encoder(Path(config.data.encoder), folder / "encoder")
    configuration.save(config, folder / "config.yaml")
    vocabulary.save(folder / "vocabulary.json")
    with atomic_path(folder / "model.safetensors") as beside:
        save_file({name: p.detach().cpu().contiguous() for name, p in model.named_parameters()}, beside)
    with atomic_path(folder / "README.md") as beside:
        beside.write_text(card, encoding="utf-8")


def _copy_encoder(source: Path, target: Path) -> None:
    if not (source / "model.safetensors").exists():
        raise CootmartError(f"data.encoder: {source} has no model.safetensors; expected an encoder's model folder")
    for path in source.iterdir():
        if path.is_file() and path.suffix in (".yaml", ".safetensors", ".json", ".md"):
            with atomic_path(target / path.name) as beside:
                shutil.copyfile(path, beside)


def load_captioner(
    folder: str | Path, device: str | torch.device = "cpu"
) -> tuple[Captioner, Vocabulary, CaptionerConfig]:
    """The model, ready to write, its vocabulary and its configuration.

    Raises:
        CootmartError: ``folder`` is not a captioner's model folder, or its files do not fit together.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).exists():
            raise CootmartError(f"{folder}: no {name}; expected the folder that `cootmart train captioner` leaves")
    config = configuration.load(CaptionerConfig, folder / "config.yaml")
    vocabulary = Vocabulary.load(folder / "vocabulary.json")
    if len(vocabulary) != config.model.vocab_size:
        raise CootmartError(
            f"{folder}: vocabulary.json has {len(vocabulary)} tokens, config.yaml says {config.model.vocab_size}"
        )
    model = build_model(config.model)
    _load_weights(model, folder / "model.safetensors")
    return model.to(device).eval(), vocabulary, config


def _load_weights(model: Captioner, path: Path) -> None:
    state, parameters = load_file(path), dict(model.named_parameters())
    for name in [*parameters, *state]:
        if name not in state or name not in parameters or state[name].shape != parameters[name].shape:
            found = tuple(state[name].shape) if name in state else "nothing"
            expected = tuple(parameters[name].shape) if name in parameters else "nothing"
            raise CootmartError(f"{path}: {name}: found {found}, expected {expected} by config.yaml beside it")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])


def captioner_card(config: CaptionerConfig, vocabulary: Vocabulary, metrics: dict[str, float]) -> str:
    """A short model card: what it was trained on, and the scores of its best epoch."""
    data = config.data
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in metrics.items())
    return (
        f"# Captioner ({config.model.model})\n\n"
        f"Trained on `{data.train_annotations or data.meta}` with features `{data.features}` from "
        f"`{data.train_embeddings}` (seed {config.loop.seed}, {len(vocabulary)} tokens), validated on "
        f"`{data.val_embeddings}`.\n\n| validation | best epoch |\n|---|---|\n{rows}\n"
    )
