"""Checkpoints of the published captioners (COOT's and MART's own repository), in and out, key by key."""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captioner.config import CaptionerConfig
from captioner.folder import load_captioner, save_captioner
from captioner.models import Captioner, build_model
from captioner.models.blocks import sinusoids
from captioner.vocabulary import Vocabulary
from training.errors import CootmartError
from training.files import atomic_path

_CONSTANTS = re.compile(
    r"(^|\.)(position_embeddings\w*\.pe|loss_func\.one_hot|pos_emb\.inv_freq)$"
    r"|^encoder\.layer\.\d+\.memory_intermediate\.dense\.(weight|bias)$"  # never used by any published model
)
_OURS = (("memory_initilizer", "memory_initializer"),)
_BESIDE = [argparse.Namespace, (OrderedDict, "easydict.EasyDict")]  # what MART's model.chkpt holds beside the weights
_VIDEO_NORM = re.compile(r"(^|\.)video_embeddings\.(video_embeddings\.)?0\.(weight|gamma)$")


def our_names(official: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters in our names from a state dict, ``{"model": ...}``, EMA file or MART ``model.chkpt``.

    Stored constants, and the weights that no published model uses, are left out.
    """
    kept = {key: value for key, value in parameters_of(official).items() if not _CONSTANTS.search(key)}
    for theirs, ours in _OURS:
        kept = {key.replace(theirs, ours): value for key, value in kept.items()}
    return kept


def parameters_of(official: Any, where: str = "checkpoint") -> dict[str, Tensor]:
    """The state dict in any of the published layouts: alone, or under ``model``.

    Raises:
        CootmartError: ``official`` holds no parameters by name.
    """
    state = official.get("model", official) if isinstance(official, dict) else official
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CootmartError(f"{where}: expected the parameters of a captioner by name, alone or as {{'model': ...}}")
    return state


def load_official(model: nn.Module, official: dict[str, Any], where: str = "checkpoint") -> None:
    """Load a published checkpoint strictly; ``where`` names it in messages.

    Raises:
        CootmartError: names the first key that is missing, unknown or of another shape.
    """
    state, own = our_names(official), model.state_dict()
    tied = [key for key in own if key not in state and _is_tied(model, key)]
    own = {key: value for key, value in own.items() if key not in tied}
    for name in [*own, *(key for key in state if key not in own)]:
        if name not in state or name not in own:
            what = "is missing from the checkpoint" if name in own else "is unknown to this configuration"
            raise CootmartError(f"{where}: parameter {name!r} {what}; does the configuration fit the file?")
        if own[name].shape != state[name].shape:
            raise CootmartError(
                f"{where}: parameter {name!r} has shape {tuple(state[name].shape)}, "
                f"expected {tuple(own[name].shape)}; does the configuration fit the file?"
            )
    model.load_state_dict(state, strict=not tied)


def _is_tied(model: nn.Module, key: str) -> bool:
    """A second name of a parameter, which files of parameters only do not repeat."""
    return key not in dict(model.named_parameters())


def read_official(path: str | Path) -> dict[str, Any]:
    """Read a ``.pth`` or ``.chkpt`` file without running code from it.

    Raises:
        CootmartError: missing, or not a plain checkpoint.
    """
    try:
        with torch.serialization.safe_globals(_BESIDE):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except Exception as error:
        raise CootmartError(f"{path}: not a checkpoint of plain tensors ({error})") from None


def import_official(checkpoint: str | Path, config: CaptionerConfig, out: str | Path) -> None:
    """Turn a published checkpoint into a model folder.

    Args:
        config: must describe the model of the file; the published ones are in ``configs/captioner/paper2020``. Its
            ``data.vocabulary`` has to be the one that the model was trained with.

    Raises:
        CootmartError: the file cannot be read, or its first key that does not fit ``config``.
    """
    if not config.data.vocabulary:
        raise CootmartError(
            "data.vocabulary: found none; a checkpoint numbers its words, so expected the file that it was trained "
            "with, such as annotations/youcook2/mart_word2idx.json"
        )
    vocabulary = Vocabulary.load(config.data.vocabulary)
    official = parameters_of(read_official(checkpoint), str(checkpoint))
    sizes = {"vocab_size": len(vocabulary), "video_feature_size": _video_feature_size(official, checkpoint)}
    config = replace(config, model=replace(config.model, **sizes))
    model = build_model(config.model)
    _check_constants(model, official, checkpoint)
    load_official(model, official, str(checkpoint))
    card = f"# Captioner ({config.model.model})\n\nImported from the published checkpoint `{Path(checkpoint).name}`.\n"
    save_captioner(model, vocabulary, config, out, card)


def _video_feature_size(official: dict[str, Tensor], where: str | Path) -> int:
    for name, value in official.items():
        if _VIDEO_NORM.search(name):
            return len(value)
    raise CootmartError(f"{where}: no parameter video_embeddings.0.*; expected the checkpoint of a captioner")


def _check_constants(model: Captioner, official: dict[str, Tensor], where: str | Path) -> None:
    """Tables in the file that have another shape tell of other lengths than those of the configuration."""
    expected = _constants(model)
    for name, value in official.items():
        if name in expected and value.shape != expected[name].shape:
            raise CootmartError(
                f"{where}: {name} has shape {tuple(value.shape)}, expected {tuple(expected[name].shape)}; "
                "do model.max_v_len, model.max_t_len and data.vocabulary fit the file?"
            )


def export_official(folder: str | Path, out: str | Path) -> None:
    """Write the captioner in ``folder`` as a ``.pth`` file that the published code loads strictly.

    Its vocabulary goes beside it, as ``<out>.word2idx.json``, for the file cannot hold it.

    Raises:
        CootmartError: ``folder`` holds no captioner.
    """
    model, vocabulary, _ = load_captioner(folder)
    out = Path(out)
    with atomic_path(out) as beside:
        torch.save({"model": official_state(model)}, beside)
    vocabulary.save(out.with_suffix(".word2idx.json"))


def official_state(model: Captioner) -> dict[str, Tensor]:
    """State dict of ``model`` in the published names, with the constants and the unused weights that it has there."""
    state = model.state_dict()
    for theirs, ours in _OURS:
        state = {key.replace(ours, theirs): value for key, value in state.items()}
    return {key: value.contiguous().clone() for key, value in state.items()} | _constants(model)


def _constants(model: Captioner) -> dict[str, Tensor]:
    c, constants = model.config, {}
    table = sinusoids(c.max_v_len + c.max_t_len, c.hidden_size)
    if c.model in ("mart", "norec"):
        constants["embeddings.position_embeddings.pe"] = table
    if c.model == "untied":
        constants["embeddings.position_embeddings_text.pe"] = table
        constants["video_embeddings.position_embeddings_video.pe"] = table.clone()
    if c.model in ("xl", "xlgrad"):
        constants["encoder.pos_emb.inv_freq"] = 1 / 10000 ** (torch.arange(0, c.hidden_size, 2) / c.hidden_size)
    if c.model in ("norec", "untied"):
        for i in range(c.n_layers):
            unused = nn.Linear(c.hidden_size, c.intermediate_size).requires_grad_(False)
            name = f"encoder.layer.{i}.memory_intermediate.dense"
            constants |= {f"{name}.weight": unused.weight.zero_(), f"{name}.bias": unused.bias.zero_()}
    if c.label_smoothing > 0:
        constants["loss_func.one_hot"] = torch.full((1, c.vocab_size), c.label_smoothing / (c.vocab_size - 1))
    return constants
