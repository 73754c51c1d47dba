"""The packed model against the same weights in plain torch operations over padded tensors."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from encoder.config import LossConfig
from encoder.layers import CootLayerNorm, norm_linear
from encoder.losses import coot_loss
from encoder.model import CootModel
from tests.encoder.test_model import TINY, batch_of

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from plain_encoder import PaddedBatch, PlainCoot


@pytest.mark.parametrize("layers", [1, 2])
def test_outputs_and_gradients(layers):
    torch.manual_seed(0)
    model = CootModel(replace(TINY, layers=layers, dropout=0.0, init_std=0.2))
    batch = batch_of([[3, 70, 4, 1], [2], [5, 2, 33, 33, 33, 8, 8], [1, 40] * 6])
    outputs, gradients = [], []
    for forward, given in ((model, batch), (PlainCoot(model), PaddedBatch.of(batch))):
        output = forward(given)
        loss, _ = coot_loss(output, LossConfig(), reduce=lambda loss, mask: loss.sum())
        model.zero_grad()
        loss.backward()
        outputs.append(output)
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for modality in ("video", "text"):
        for name in ("high", "low", "context"):
            packed, plain = (getattr(getattr(output, modality), name) for output in outputs)
            torch.testing.assert_close(packed, plain, rtol=1e-4, atol=1e-5)
    for name, gradient in gradients[1].items():
        tolerance = 2e-4 * gradient.abs().max().item() + 1e-5  # a key's bias has no gradient but rounding
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-3, atol=tolerance, msg=name)


def test_norm_and_linear_in_one():
    torch.manual_seed(1)
    norm, linear = CootLayerNorm(12), nn.Linear(12, 5)
    nn.init.normal_(norm.gain), nn.init.normal_(norm.bias)
    x, dy = torch.randn(30, 12).mul_(3).add_(1), torch.randn(30, 5)
    x[3] = 2.5  # a constant row: deviation 0
    parameters = [*norm.parameters(), *linear.parameters()]
    results = []
    for data in (x, x.clone().requires_grad_()):  # who asks for the gradient of the data gets the separate operations
        y = norm_linear(data, norm, linear)
        results.append((y, *torch.autograd.grad(y, parameters, dy)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_norm_and_linear_in_bfloat16():
    torch.manual_seed(2)
    norm, linear, x = CootLayerNorm(64), nn.Linear(64, 8), torch.randn(40, 64)
    exact = torch.autograd.grad(norm_linear(x, norm, linear).sum(), linear.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = norm_linear(x, norm, linear)
    assert y.dtype == torch.bfloat16
    gradient = torch.autograd.grad(y.sum(), linear.weight)[0]
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, exact, rtol=0.05, atol=0.2)
