"""A data set that a captioner learns in seconds, and a captioner small enough for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from captioner.config import CaptionerConfig, DataConfig, ModelConfig
from encoder.embeddings import EmbeddingsWriter
from training.loop import LoopConfig
from training.optim import OptimizerConfig

COLOURS, VERBS = ("red", "green", "blue", "white"), ("slides", "spins", "hops")


def write_toy_data(folder: Path, n_train: int = 160, n_val: int = 20) -> DataConfig:
    """Videos of one object that does something in each clip; clips after the first do not show its colour."""
    random, meta = np.random.default_rng(0), {}
    for split, n in (("train", n_train), ("val", n_val)):
        with EmbeddingsWriter(folder / f"{split}.h5") as out:
            for i in range(n):
                colour, verbs = random.integers(4), random.integers(3, size=random.integers(2, 5))
                clips = 0.05 * random.standard_normal((len(verbs), 8)).astype(np.float32)
                clips[np.arange(len(verbs)), verbs] += 1
                clips[0, 3 + colour] += 1
                key = f"{split}{i}"
                video = random.standard_normal((1, 16)).astype(np.float32)
                arrays = {"vid_emb": video, "vid_context": video[:, :8], "clip_emb": clips}
                out.append([key], [len(verbs)], arrays)
                segments = [
                    {"text": f"the {COLOURS[colour]} ball {VERBS[v]}", "start_sec": 2 * j, "stop_sec": 2 * j + 2}
                    for j, v in enumerate(verbs)
                ]
                meta[key] = {"data_key": key, "duration_sec": 2.0 * len(verbs), "split": split, "segments": segments}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    paths = {f"{split}_embeddings": str(folder / f"{split}.h5") for split in ("train", "val")}
    return DataConfig(meta=str(folder / "meta.json"), features="clip", **paths)


def toy_config(data: DataConfig, model: str = "mart", epochs: int = 14) -> CaptionerConfig:
    """A run on the toy data."""
    joint = model not in ("vanilla", "untied")
    sizes = {"word_vec_size": 48, "hidden_size": 48, "intermediate_size": 48, "n_heads": 2, "max_t_len": 10}
    return CaptionerConfig(
        model=ModelConfig(model=model, max_v_len=3 if joint else 1, initializer_range=0.1, **sizes),
        data=data,
        optimizer=OptimizerConfig("bertadam", 1e-3, 0.9, 0.999, 1e-6, 0.01),
        loop=LoopConfig(epochs=epochs, patience=50, validate_from=2, clip_gradient=1.0, ema_decay=0.9),
        batch_size=10,
    )
