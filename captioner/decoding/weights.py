"""How the weights lie in memory while words are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from training.linear import Linear


@contextmanager
def ready_for_few_rows(model: nn.Module) -> Iterator[None]:
    """Inside, weights lie in memory column by column: the same numbers, read faster where x has only a few rows.

    Of use for many products with the same weights, as decoding has them; on other devices it does nothing.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Linear) and layer.weight.is_cpu]
    layers = [layer for layer in layers if layer.weight.is_contiguous()]  # another thread may be decoding too
    kept = [layer.weight.data for layer in layers]
    with torch.inference_mode(False):  # a tensor made there could not be trained, should it stay
        for layer in layers:
            layer.weight.data = layer.weight.data.T.contiguous().T
    try:
        yield
    finally:
        for layer, weight in zip(layers, kept, strict=True):
            layer.weight.data = weight
