"""From a trained encoder to embeddings: of a split of a data set, or of one video nobody has annotated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from encoder.config import EncoderConfig
from encoder.data.dataset import Loader, cut_video, open_split
from encoder.data.ragged import Batch, Ragged
from encoder.embeddings import Embeddings, output_arrays, write_embeddings
from encoder.folder import load_encoder
from encoder.model import CootOutput, PairEncoder
from encoder.retrieval import evaluate, normalize
from training.config import override
from training.errors import CootmartError
from training.loop import pick_device


def embed_split(folder: str | Path, split: str, out: str | Path, overrides: Iterable[str] = ()) -> dict[str, float]:
    """Write the embeddings of ``split`` with the encoder in ``folder`` and return their retrieval scores.

    Args:
        overrides: changes of the encoder's configuration, such as ``data.meta=other/meta_all.json``.

    Raises:
        CootmartError: no encoder there, or the data are missing or do not fit.
    """
    device = pick_device()
    model, config = load_encoder(folder, device)
    config = override(config, overrides)
    data = open_split(config.data, split)
    data.require_widths(config.model.video_dim, config.model.text_dim)
    batches = (batch.to(device) for batch in Loader(data, config.batch_size))
    return evaluate(write_embeddings(out, model, batches))


def gather(outputs: Iterable[tuple[Batch, CootOutput]], name: str) -> Embeddings:
    """The L2-normalised embeddings of several batches, in memory."""
    keys: list[str] = []
    counts, arrays = [], []
    for batch, output in outputs:
        keys += batch.keys
        counts.append(batch.clip_num.cpu().numpy())
        arrays.append(output_arrays(output))
    joined = {part: normalize(np.concatenate([a[part] for a in arrays])) for part in arrays[0]}
    return Embeddings(name, keys, np.concatenate(counts), **joined)


def embed_video(
    model: PairEncoder,
    config: EncoderConfig,
    features: np.ndarray,
    duration: float,
    segments: Sequence[tuple[float, float]],
    name: str = "video",
) -> Embeddings:
    """Embeddings of one video, as `embed_split` gives them with ``batch_size=1``.

    Args:
        features: (T, Dv) frame features of the whole video, evenly spaced over ``duration`` seconds.
        segments: (start, stop) in seconds, at least one.

    Raises:
        CootmartError: the features are not as wide as the encoder expects.
    """
    if features.shape[1] != config.model.video_dim:
        raise CootmartError(
            f"{name}: frame features are {features.shape[1]} wide, but the encoder reads {config.model.video_dim}; "
            f"it was trained on {config.features.backbone!r} features"
        )
    whole, parts = cut_video(features, duration, segments, config.data)
    device, count = next(model.parameters()).device, torch.tensor([len(parts)])
    with torch.inference_mode():
        video = model.encode_video(Ragged.cat([whole]).to(device), Ragged.cat(parts).to(device), count.to(device))
    arrays = (torch.nn.functional.normalize(x).cpu().numpy() for x in (video.high, video.context, video.low))
    return Embeddings(name, [name], count.numpy(), *arrays)
