"""Checkpoints of the published captioners (COOT's and MART's own repository), loaded strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import CootmartError

_CONSTANTS = re.compile(
    r"(^|\.)(position_embeddings\w*\.pe|loss_func\.one_hot|pos_emb\.inv_freq)$"
    r"|^encoder\.layer\.\d+\.memory_intermediate\.dense\.(weight|bias)$"  # never used by any published model
)
_OURS = (("memory_initilizer", "memory_initializer"),)


def our_names(official: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters in our names from a state dict, ``{"model": ...}``, EMA file or MART ``model.chkpt``.

    Stored constants, and the weights that no published model uses, are left out.
    """
    state = official.get("model", official)
    kept = {key: value for key, value in state.items() if not _CONSTANTS.search(key)}
    for theirs, ours in _OURS:
        kept = {key.replace(theirs, ours): value for key, value in kept.items()}
    return kept


def load_official(model: nn.Module, official: dict[str, Any]) -> None:
    """Load a published checkpoint strictly.

    Raises:
        CootmartError: names the first key that is missing, unknown or of another shape.
    """
    state, own = our_names(official), model.state_dict()
    tied = [key for key in own if key not in state and _is_tied(model, key)]
    own = {key: value for key, value in own.items() if key not in tied}
    for name in [*own, *(key for key in state if key not in own)]:
        if name not in state or name not in own:
            what = "is missing from the checkpoint" if name in own else "is unknown to this configuration"
            raise CootmartError(f"checkpoint: parameter {name!r} {what}; does the configuration fit the file?")
        if own[name].shape != state[name].shape:
            raise CootmartError(
                f"checkpoint: parameter {name!r} has shape {tuple(state[name].shape)}, "
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
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except Exception as error:
        raise CootmartError(f"{path}: not a checkpoint of plain tensors ({error})") from None
