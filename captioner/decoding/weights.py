"""The weights as they are read fastest while words are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from captioner.models.blocks import Joinable
from training.linear import Linear, packed


@contextmanager
def ready_for_few_rows(model: nn.Module) -> Iterator[None]:
    """Inside, products that can be joined are one, and on a CPU weights lie in memory as oneDNN wants them.

    Of use for many products of few rows with the same weights, as decoding has them. Gradients take the weights as
    they are, inside too.
    """
    blocks = [part for part in model.modules() if isinstance(part, Joinable) and part.joint is None]
    layers = [part for part in model.modules() if isinstance(part, Linear) and part.packed is None]
    try:
        with torch.inference_mode():  # another thread may be decoding too: it leaves alone what is set here
            for block in blocks:
                weight, bias = block.joint_weights()
                block.joint = packed(weight), bias
            for layer in layers:
                layer.packed = packed(layer.weight.detach())
        yield
    finally:
        for block in blocks:
            block.joint = None
        for layer in layers:
            layer.packed = None
