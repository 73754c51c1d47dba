"""Parameter names of the published COOT checkpoints and ours, in both directions.

A published ``model_<epoch>.pth`` is ``{network: state dict}`` with four networks; a v0.1 file is a list of the four
state dicts in the same order with a few older names.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from encoder.model import CootModel
from training.errors import CootmartError

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


def _rename(name: str, table: dict[str, str]) -> str:
    for pattern, replacement in table.items():
        name = re.sub(pattern, replacement, name)
    return name


def our_names(official: dict[str, dict[str, Tensor]] | list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Flat state dict in our names from either published layout; stored constants are left out."""
    if isinstance(official, list):
        nets = ({_rename(k, _V01_NAMES): v for k, v in net.items()} for net in official)
        official = dict(zip(NETWORKS, nets, strict=True))
    missing = [name for name in NETWORKS if name not in official]
    if missing:
        raise CootmartError(
            f"checkpoint: network {missing[0]!r} is missing; found {', '.join(map(str, official))}; "
            "expected a COOT encoder checkpoint with the four networks " + ", ".join(NETWORKS)
        )
    return {
        f"{ours}.{_rename(key, _NAMES)}": value
        for theirs, ours in NETWORKS.items()
        for key, value in official[theirs].items()
        if not _CONSTANTS.match(key)
    }


def load_official(model: CootModel, official: dict | list) -> None:
    """Load a published checkpoint strictly.

    Raises:
        CootmartError: names the first key that is missing, unknown or of another shape.
    """
    state, own = our_names(official), model.state_dict()
    for name in sorted(own.keys() | state.keys()):
        if name not in state or name not in own:
            what = "is missing from the checkpoint" if name in own else "is unknown to this configuration"
            raise CootmartError(f"checkpoint: parameter {name!r} {what}; does the configuration fit the file?")
        if own[name].shape != state[name].shape:
            raise CootmartError(
                f"checkpoint: parameter {name!r} has shape {tuple(state[name].shape)}, "
                f"expected {tuple(own[name].shape)}; does the configuration fit the file?"
            )
    model.load_state_dict(state)


def official_names(model: CootModel) -> dict[str, dict[str, Tensor]]:
    """State dict of ``model`` in the published names and order, constants included (for export)."""
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
