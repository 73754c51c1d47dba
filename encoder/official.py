"""Parameter names of the published COOT checkpoints and ours, in both directions.

A published ``model_<epoch>.pth`` is ``{network: state dict}`` with four networks; a v0.1 file is a list of the four
state dicts in the same order with a few older names.
"""

from __future__ import annotations

import pickle
import re
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoder.config import EncoderConfig
from encoder.folder import load_encoder, save_encoder
from encoder.model import CootModel, PairEncoder, build_model
from encoder.pooling import StackedAttentionPool
from training.errors import CootmartError
from training.files import atomic_path

State = dict[str, dict[str, Tensor]]
"""{network: {parameter: tensor}} in the published names"""

NETWORKS = {
    "net_video_local": "video_local",
    "net_video_global": "video_global",
    "net_text_local": "text_local",
    "net_text_global": "text_global",
}
_LAYER = {
    r"self_attention_layer\.sublayer\.(query|key|value|final)_projection": r"attention.\1",
    r"self_attention_layer\.layer_normalization": "attention_norm",
    r"pointwise_feedforward_layer\.sublayer\.feed_forward\.0": "up",
    r"pointwise_feedforward_layer\.sublayer\.feed_forward\.3": "down",
    r"pointwise_feedforward_layer\.layer_normalization": "feed_forward_norm",
}
_NAMES = {
    r"^input_fc\.mlp\.0\.": "input_fc.",
    r"^tf\.encoder_layers\.(\d+)\.": r"transformer.layers.\1.",
    r"^tf_context\.encoder_layers\.0\.": "context.",
    r"^pooler\.pools\.0\.genpool_(w|b)(\d)_head$": r"pooler.\1\2",
    r"^net_cls\.cls_param$": "transformer.cls",
    **_LAYER,
}
_CONSTANTS = re.compile(r"^(embedding\.pe|pooler\.pools\.\d+\.genpool_one|net_cls\.fixed_ones)$")
_V01_NAMES = {
    r"^input_norm\.": "norm_input.",
    r"^input_fc\.(?!mlp\.)": "input_fc.mlp.",
    r"^pooler\.genpool": "pooler.pools.0.genpool",
}


DAMAGED = (
    *(OSError, EOFError, RuntimeError, ValueError, OverflowError, pickle.UnpicklingError, struct.error),
    *(KeyError, IndexError, AttributeError, TypeError, AssertionError, MemoryError),
)
"""what `torch.load` raises on files that are damaged or something else"""


def _rename(name: str, table: dict[str, str]) -> str:
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name


def read_official(path: str | Path) -> Any:
    """What a published ``.pth`` file holds, read without running code from it.

    Raises:
        CootmartError: the file is missing or no checkpoint of tensors alone.
    """
    try:
        return torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such file") from None
    except DAMAGED as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CootmartError(
            f"{path}: not a checkpoint of tensors ({reason[0]}); expected a file such as models/model_50.pth"
        ) from None


def networks_of(official: Any, where: str = "checkpoint") -> State:
    """The four networks in today's published names, from either layout.

    Raises:
        CootmartError: ``official`` is neither of the two.
    """
    if isinstance(official, list) and len(official) == len(NETWORKS):
        nets = ({_rename(k, _V01_NAMES): v for k, v in net.items()} for net in official if isinstance(net, dict))
        official = dict(zip(NETWORKS, nets, strict=False))
    if not isinstance(official, dict):
        raise CootmartError(
            f"{where}: found a {type(official).__name__}, expected {{network: parameters}} or a list of "
            f"{len(NETWORKS)} of them"
        )
    for name in NETWORKS:
        if not isinstance(official.get(name), dict):
            raise CootmartError(
                f"{where}: network {name!r} is missing; found {', '.join(map(str, list(official)[:8]))}; expected a "
                "COOT encoder checkpoint with the four networks " + ", ".join(NETWORKS)
            )
    return {name: official[name] for name in NETWORKS}


def our_names(official: dict | list) -> dict[str, Tensor]:
    """Flat state dict in our names from either published layout; stored constants are left out."""
    return {
        f"{NETWORKS[network]}.{_rename(key, _NAMES)}": value
        for network, state in networks_of(official).items()
        for key, value in state.items()
        if not _CONSTANTS.match(key)
    }


def load_official(model: CootModel, official: dict | list, where: str = "checkpoint") -> None:
    """Load a published checkpoint strictly; ``where`` names it in messages.

    Raises:
        CootmartError: names the first key that is missing, unknown or of another shape.
    """
    expected = official_names(model)
    for network, state in networks_of(official, where).items():
        own = expected[network]
        for key in [*own, *(key for key in state if key not in own)]:
            if problem := _problem(key, state, own):
                raise CootmartError(f"{where}: {network}: {key} {problem}; does the configuration fit the file?")
    model.load_state_dict(our_names(official))


def _problem(key: str, state: dict[str, Any], own: dict[str, Tensor]) -> str | None:
    if key not in own:
        return None if _CONSTANTS.match(key) else "is unknown to this configuration"
    if key not in state:
        return None if _CONSTANTS.match(key) else "is missing from the file"
    found = state[key]
    if not isinstance(found, Tensor):
        return f"is a {type(found).__name__}, expected a tensor"
    if found.shape != own[key].shape:
        return f"has shape {tuple(found.shape)}, expected {tuple(own[key].shape)}"
    return None


def import_official(checkpoint: str | Path, config: EncoderConfig, out: str | Path) -> None:
    """Turn a published ``.pth`` file into a model folder.

    Args:
        config: must describe the model of the file; the published ones are in ``configs/encoder/paper2020``.

    Raises:
        CootmartError: the file cannot be read, or its first key that does not fit ``config``.
    """
    model = build_model(config.model)
    load_official(model, read_official(checkpoint), str(checkpoint))
    card = f"# COOT encoder\n\nImported from the published checkpoint `{Path(checkpoint).name}`.\n"
    save_encoder(out, model, config, card)


def export_official(folder: str | Path, out: str | Path) -> None:
    """Write the encoder in ``folder`` as a ``.pth`` file that the published code loads.

    Raises:
        CootmartError: ``folder`` holds no encoder, or one that the published code does not have.
    """
    model, _ = load_encoder(folder)
    state = official_names(model, str(folder))
    with atomic_path(out) as beside:
        torch.save({name: {k: v.contiguous().clone() for k, v in net.items()} for name, net in state.items()}, beside)


def official_names(model: PairEncoder, where: str = "model") -> State:
    """State dict of ``model`` in the published names and order, constants included.

    Raises:
        CootmartError: the published code has no such model.
    """
    stacked = any(isinstance(module, StackedAttentionPool) for module in model.modules())
    if not isinstance(model, CootModel) or stacked:
        what = "model.af_layers above 1" if stacked else f"model.network {type(model).__name__}"
        raise CootmartError(f"{where}: {what} has no published counterpart; expected a COOT model with one layer of AF")
    return {theirs: _official_network(getattr(model, ours)) for theirs, ours in NETWORKS.items()}


def _official_network(network: torch.nn.Module) -> dict[str, Tensor]:
    state = {_official_key(name): value for name, value in network.state_dict().items()}
    state["embedding.pe"] = network.transformer.positions.table
    if hasattr(network.pooler, "w1"):
        state["pooler.pools.0.genpool_one"] = torch.ones(1)
    if network.transformer.cls is not None:
        state["net_cls.fixed_ones"] = torch.ones(1)
    rank = {part: i for i, part in enumerate(_ORDER)}
    return dict(sorted(state.items(), key=lambda item: rank[item[0].split(".")[0]]))


_ORDER = ("norm_input", "input_fc", "net_cls", "embedding", "tf", "tf_context", "pooler")
_BACK = {
    r"^input_fc\.": "input_fc.mlp.0.",
    r"^transformer\.cls$": "net_cls.cls_param",
    r"^transformer\.layers\.": "tf.encoder_layers.",
    r"^context\.": "tf_context.encoder_layers.0.",
    r"^pooler\.(w|b)(\d)$": r"pooler.pools.0.genpool_\1\2_head",
    r"\.attention\.(query|key|value|final)\.": r".self_attention_layer.sublayer.\1_projection.",
    r"\.attention_norm\.": ".self_attention_layer.layer_normalization.",
    r"\.up\.": ".pointwise_feedforward_layer.sublayer.feed_forward.0.",
    r"\.down\.": ".pointwise_feedforward_layer.sublayer.feed_forward.3.",
    r"\.feed_forward_norm\.": ".pointwise_feedforward_layer.layer_normalization.",
}


def _official_key(name: str) -> str:
    return _rename(name, _BACK)
