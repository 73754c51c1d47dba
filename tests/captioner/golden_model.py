"""Rebuild a golden captioner case: configuration, model with its parameters, batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from captioner.batch import Batch
from captioner.config import ModelConfig
from captioner.models import build_model
from captioner.official import load_official, our_names

VARIANTS = {"mart_norec": "norec", "xl_grad": "xlgrad", "mart_vanilla": "vanilla"}


def variant(info: dict) -> str:
    name = VARIANTS.get(info["variant"], info["variant"])
    return "xlgrad" if name == "xl" and info["cfg"].get("xl_grad") else name


class GoldenModel:
    """One ``<name>.json`` with its ``.safetensors``: what went in, what came out."""

    def __init__(self, path: Path) -> None:
        self.info = json.loads(path.read_text())
        self.tensors = load_file(path.with_suffix(".safetensors"))
        self.config = self._config()
        self.model = build_model(self.config).eval()
        load_official(self.model, self.group("param"))

    def _config(self) -> ModelConfig:
        c = self.info["cfg"]
        return ModelConfig(
            model=variant(self.info),
            vocab_size=c["vocab_size"],
            video_feature_size=c["video_feature_size"],
            word_vec_size=c["word_vec_size"],
            hidden_size=c["hidden_size"],
            intermediate_size=c["intermediate_size"],
            n_heads=c["num_attention_heads"],
            n_layers=c["num_hidden_layers"],
            n_memory_cells=c["n_memory_cells"],
            max_v_len=c["max_v_len"],
            max_t_len=c["max_t_len"],
            layer_norm_eps=c["layer_norm_eps"],
            label_smoothing=c["label_smoothing"],
            share_wd_cls_weight=c["share_wd_cls_weight"],
        )

    def with_other_loss(self):
        """The same weights under the loss that ``loss_alt`` was computed with."""
        smoothing = 0.0 if self.config.label_smoothing else 0.1
        model = build_model(replace(self.config, label_smoothing=smoothing)).eval()
        load_official(model, self.group("param"))
        return model

    def group(self, kind: str) -> dict[str, Tensor]:
        """Tensors below ``kind/`` by the rest of their name."""
        return {k.removeprefix(f"{kind}/"): v for k, v in self.tensors.items() if k.startswith(f"{kind}/")}

    def gradients(self) -> dict[str, Tensor]:
        return our_names(self.group("grad"))

    @property
    def steps(self) -> list[str]:
        """Names of the sentence steps, [""] for one batch without steps."""
        numbers = sorted({int(k.split("/")[1]) for k in self.tensors if k.startswith("in/") and k.count("/") == 2})
        return [f"{n}/" for n in numbers] or [""]

    def step_input(self, step: str) -> dict[str, Tensor]:
        """One step as video, video_lengths, text, text_lengths, labels."""
        t, n_video = self.group("in"), self.config.max_v_len
        if not self.config.is_joint:
            return {
                "video": t["video_feature"],
                "video_lengths": t["video_mask"].sum(1).long(),
                "text": t["text_ids"],
                "text_lengths": t["text_mask"].sum(1).long(),
                "labels": t["text_labels"],
            }
        mask = t[f"{step}input_mask"]
        return {
            "video": t[f"{step}video_feature"][:, 1 : n_video - 1],
            "video_lengths": mask[:, :n_video].sum(1).long() - 2,
            "text": t[f"{step}input_ids"][:, n_video:],
            "text_lengths": mask[:, n_video:].sum(1).long(),
            "labels": t[f"{step}input_labels"][:, n_video:],
        }

    def rows(self) -> list[list[int]]:
        """Videos of each step that have a sentence there, in the order of the batch."""
        alive = torch.stack([(self.step_input(s)["labels"] >= 0).any(1) for s in self.steps])  # (S, N)
        order = sorted(range(alive.shape[1]), key=lambda i: -int(alive[:, i].sum()))
        return [[i for i in order if step[i]] for step in alive]

    def batch(self, filler: bool = False) -> Batch:
        """The live sentences only; with ``filler`` all rows of all steps, as decoding runs them."""
        n = len(self.step_input(self.steps[0])["text"])
        rows = [list(range(n)) for _ in self.steps] if filler else self.rows()
        parts: dict[str, list[Tensor]] = {}
        for step, chosen in zip(self.steps, rows, strict=True):
            for name, value in self.step_input(step).items():
                parts.setdefault(name, []).append(value[chosen])
        tensors = {name: torch.cat(values) for name, values in parts.items()}
        longest = int(tensors["text_lengths"].max())  # collation leaves no column that is padding for all
        tensors["text"], tensors["labels"] = tensors["text"][:, :longest], tensors["labels"][:, :longest]
        widest = int(tensors["video_lengths"].max())
        tensors["video"] = tensors["video"][:, :widest]
        names = tuple(str(i) for i in range(len(rows[0])))
        return Batch.build(names, tuple(rows[0]), tuple(map(len, rows)), **tensors)

    def expected(self, name: str) -> Tensor:
        """``out/<step>/name`` of the live sentences, in batch order: (T, ...)."""
        out = self.group("out")
        if f"{self.steps[0]}{name}" not in out:
            return out[name][self.rows()[0]]
        return torch.cat([out[f"{s}{name}"][rows] for s, rows in zip(self.steps, self.rows(), strict=True)])
