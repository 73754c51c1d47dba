"""Small random captioners and videos."""

from __future__ import annotations

import numpy as np
import torch

from captioner.config import ModelConfig
from captioner.data import Annotation, Item, collate
from captioner.models import Captioner, build_model
from captioner.vocabulary import BOS, EOS

MODELS = ("mart", "norec", "vanilla", "xl", "xlgrad", "untied")
RECURRENT = ("mart", "xl", "xlgrad")


def tiny_config(model: str, **changes) -> ModelConfig:
    joint = model not in ("vanilla", "untied")
    sizes = {
        "vocab_size": 30,
        "video_feature_size": 12,
        "word_vec_size": 10,
        "hidden_size": 16,
        "intermediate_size": 16,
        "n_heads": 2,
        "max_v_len": 5 if joint else 3,
        "max_t_len": 9,
    }
    return ModelConfig(model=model, **(sizes | changes))


def tiny_model(model: str, seed: int = 0, spread: float = 0.5, **changes) -> Captioner:
    """With weights large enough that it writes different sentences about different clips, some of which end early."""
    torch.manual_seed(seed)
    captioner = build_model(tiny_config(model, **changes)).eval()
    with torch.no_grad():
        for name, p in captioner.named_parameters():
            if p.dim() > 1:
                p.normal_(0.0, spread * (1.0 if "attention" in name else 1.5))
            elif len(p) == captioner.config.vocab_size:
                p[EOS] += 2.0
    return captioner


def tiny_items(n_videos: int, seed: int = 0, most: int = 4, n_features: int = 3, vocab_size: int = 30) -> list[Item]:
    random = np.random.default_rng(seed)
    items = []
    for i in range(n_videos):
        n = int(random.integers(1, most + 1))
        counts = random.integers(1, n_features + 1, n)
        features = [random.standard_normal((count, 12)).astype(np.float32) for count in counts]
        text = [[BOS, *random.integers(7, vocab_size, random.integers(1, 7)).tolist(), EOS] for _ in range(n)]
        times = tuple((float(j), float(j + 1)) for j in range(n))
        items.append(Item(Annotation(f"video{i}", ("words",) * n, times), features, text))
    return items


def tiny_batch(n_videos: int, **options):
    return collate(tiny_items(n_videos, **options))
