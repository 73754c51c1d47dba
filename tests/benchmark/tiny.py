"""A tiny benchmark: embeddings of made-up videos, and a suite of captioners of a few weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from encoder.embeddings import EmbeddingsWriter

COLOURS, VERBS = ("red", "green", "blue", "white"), ("slides", "spins", "hops")
SIZES = {"word_vec_size": 12, "hidden_size": 12, "intermediate_size": 12, "n_heads": 2, "n_layers": 1, "max_t_len": 10}


def write_data(folder: Path, videos: tuple[int, int] = (24, 6)) -> None:
    """``train.h5``, ``val.h5``, ``meta.json`` and ``references.json``: clips show what moves, the first its colour."""
    random, meta = np.random.default_rng(0), {}
    for split, n in zip(("train", "val"), videos, strict=True):
        with EmbeddingsWriter(folder / f"{split}.h5") as out:
            for i in range(n):
                colour, verbs = random.integers(4), random.integers(3, size=random.integers(2, 4))
                clips = 0.1 * random.standard_normal((len(verbs), 8)).astype(np.float32)
                clips[np.arange(len(verbs)), verbs] += 1
                clips[0, 3 + colour] += 1
                key = f"{split}{i}"
                video = random.standard_normal((1, 16)).astype(np.float32)
                text = {"par_emb": video + 1, "par_context": video[:, :8], "sent_emb": clips + 0.3}
                arrays = {"vid_emb": video, "vid_context": video[:, :8], "clip_emb": clips}
                out.append([key], [len(verbs)], arrays | text)
                segments = [
                    {"text": f"the {COLOURS[colour]} ball {VERBS[v]}", "start_sec": 2 * j, "stop_sec": 2 * j + 2}
                    for j, v in enumerate(verbs)
                ]
                meta[key] = {"data_key": key, "duration_sec": 2.0 * len(verbs), "split": split, "segments": segments}
    said = {
        key: " ".join(segment["text"] for segment in entry["segments"])
        for key, entry in meta.items()
        if entry["split"] == "val"
    }
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (folder / "references.json").write_text(json.dumps(said), encoding="utf-8")


def write_suite(folder: Path, **changes) -> Path:
    """``suite.yaml`` with MART and its variant without recurrence, two seeds each, and a published row."""
    captioner = {
        "model": {"model": "mart", "max_v_len": 3, **SIZES},
        "data": {
            "train_embeddings": str(folder / "train.h5"),
            "val_embeddings": str(folder / "val.h5"),
            "meta": str(folder / "meta.json"),
            "features": "clip",
            "min_count": 0,
        },
        "optimizer": {"lr": 5e-3},
        "loop": {"epochs": 3, "ema_decay": 0.0},
        "batch_size": 8,
    }
    suite = {
        "title": "Tiny",
        "test": {
            "name": "tiny val",
            "annotations": str(folder / "meta.json"),
            "split": "val",
            "references": [str(folder / "references.json")],
        },
        "metrics": ["Bleu_1", "METEOR", "CIDEr", "re4"],
        "seeds": [0, 1],
        "all_rows": {"captioner": "captioner.yaml"},
        "rows": {
            "MART": {"published": {"CIDEr": 57.24}},
            "no memory": {"options": {"model": {"model": "norec"}}},
            "paper only": {"captioner": "", "published": {"CIDEr": 35.74}},
        },
    }
    (folder / "captioner.yaml").write_text(yaml.safe_dump(captioner), encoding="utf-8")
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite | changes, sort_keys=False), encoding="utf-8")
    return path
