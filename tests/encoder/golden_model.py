"""Rebuild a golden encoder case: configuration, model with its parameters, batch."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from encoder.config import LossConfig, ModelConfig
from encoder.data.ragged import Batch, Ragged
from encoder.model import CootModel
from encoder.official import load_official, our_names

POOLERS = {
    "atn": "af",
    "avg_special": "padded_mean",
    "avg_masked": "mean",
    "avg": "mean",
    "max": "max",
    "cls": "cls",
    "first": "cls",
}


def loss_config(published: dict[str, float], cycle_consistency: float) -> LossConfig:
    """Our loss options from the published ones."""
    c = {name: float(value) for name, value in published.items()}
    return LossConfig(
        margin=c["margin"],
        high=c["weight_high"],
        low=c["weight_low"],
        context=c["weight_context"],
        high_cluster=c["weight_high_internal"],
        low_cluster=c["weight_low_internal"],
        # the published code gives the context cluster the weight of the low-level one
        context_cluster=c["weight_low_internal"] if c["weight_context_internal"] else 0.0,
        cycle_consistency=cycle_consistency,
    )


class GoldenModel:
    """One ``<name>.json`` with its ``.safetensors``: what went in, what came out."""

    def __init__(self, path: Path) -> None:
        self.info = json.loads(path.read_text())
        self.tensors = load_file(path.with_suffix(".safetensors"))
        self.model = CootModel(self._model_config()).eval()
        load_official(self.model, self.networks("state"))

    def _model_config(self) -> ModelConfig:
        dims, net = self.info["dims"], self.info["nets"]["net_video_local"]
        return ModelConfig(
            video_dim=dims["vid_feat"],
            text_dim=dims["text_feat"],
            hidden_size=dims["hidden"],
            heads=dims["heads"],
            ff_size=dims["ff"] or dims["hidden"],
            layers=net["selfatn_config"]["num_layers"],
            dropout=net["selfatn_config"]["dropout"],
            local_pooler=POOLERS[self.info["local_pool"]],
            global_pooler=POOLERS[self.info["global_pool"]],
            af_hidden=dims["af_hidden"],
            af_heads=dims["af_heads"],
            context=self.info["context"],
        )

    def loss_config(self) -> LossConfig:
        return loss_config(self.info["contrastive_cfg"], self.info["cmc"]["weight"])

    def networks(self, kind: str) -> dict[str, dict[str, torch.Tensor]]:
        """Tensors below ``kind/`` as {network: {official key: tensor}}."""
        nets: dict[str, dict[str, torch.Tensor]] = {}
        for key, value in self.tensors.items():
            if key.startswith(f"{kind}/"):
                _, net, name = key.split("/", 2)
                nets.setdefault(net, {})[name] = value
        return nets

    def gradients(self, kind: str) -> dict[str, torch.Tensor]:
        return our_names(self.networks(kind))

    def batch(self) -> Batch:
        def ragged(name: str) -> Ragged:
            return Ragged.from_padded(self.tensors[f"in/{name}_feat"], self.tensors[f"in/{name}_feat_len"])

        keys = [str(i) for i in range(len(self.tensors["in/clip_num"]))]
        parts = {name: ragged(name) for name in ("vid", "clip", "par", "sent")}
        return Batch(keys=keys, clip_num=self.tensors["in/clip_num"], **parts)
