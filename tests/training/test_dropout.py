"""Dropout and attention with it: right shares, right scale, the same numbers for the same seed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.dropout import Dropout, attention, drop_gelu_linear, dropout


@pytest.mark.parametrize("p", [0.01, 0.05, 0.5])
def test_share_and_scale(p):
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(1000, 1001), p, True) == 0).float()
    assert dropped.mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 1e6) ** 0.5)
    assert sorted(set(dropout(torch.ones(1000), p, True).tolist())) == pytest.approx([0, 1 / (1 - p)])


def test_only_in_training_and_repeatable():
    x, layer = torch.randn(50, 7), Dropout(0.3)
    assert layer.eval()(x) is x
    assert dropout(x, 0.0, True) is x
    layer.train()
    torch.manual_seed(4)
    first = layer(x)
    torch.manual_seed(4)
    assert layer(x).equal(first)
    assert not layer(x).equal(first)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_gradient_is_the_mask(kind):
    torch.manual_seed(1)
    x = torch.ones(400, dtype=kind, requires_grad=True)
    y = dropout(x, 0.25, True)
    y.sum().backward()
    assert x.grad.equal(y.detach())


@pytest.mark.parametrize("causal", [False, True])
def test_attention_without_its_dropout_is_torch_attention(monkeypatch, causal):
    torch.manual_seed(2)
    q, k, v = (torch.randn(3, 2, 5, 4) for _ in range(3))
    mask = None if causal else torch.rand(3, 1, 1, 5) > 0.3
    mask = mask if mask is None else mask.index_fill(3, torch.tensor([0]), True)
    expected = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=0.7)
    torch.testing.assert_close(attention(q, k, v, mask, causal=causal, scale=0.7), expected)
    monkeypatch.setattr("training.dropout.dropout", lambda x, p, training: x)
    torch.testing.assert_close(attention(q, k, v, mask, 0.5, causal, 0.7), expected)


@pytest.mark.parametrize("training", [True, False])
def test_drop_gelu_linear_is_the_three_of_them(training):
    results = []
    for together in (True, False):
        torch.manual_seed(5)
        x, weight, bias = (torch.randn(*shape, requires_grad=True) for shape in ((9, 6), (4, 6), (4,)))
        if together:
            y = drop_gelu_linear(x, 0.3, training, weight, bias)
        else:
            y = F.linear(F.gelu(dropout(x, 0.3, training)), weight, bias)
        results.append([y, *torch.autograd.grad(y.square().sum(), (x, weight, bias))])
    torch.testing.assert_close(*results)
