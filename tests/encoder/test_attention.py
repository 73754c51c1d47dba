"""Self-attention with a gradient written out, and blocks that are computed twice, against the plain way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import encoder.attention
from encoder.attention import Attention, SelfAttention
from encoder.config import ModelConfig
from encoder.data.ragged import Ragged
from encoder.model import LocalNetwork
from encoder.packing import Layout

HEADS, SIZE, P = 2, 8, 0.25


def fixed_mask(shape: torch.Size, p: float) -> Tensor:
    """The same elements dropped at every call."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(3)) >= p).to(torch.uint8)


def by_sequence(projected: Tensor, layout: Layout) -> Tensor:
    """One run of sequences, one after the other, one head after the other."""
    n, width = layout.mask.shape
    kept, mixed, start = fixed_mask(torch.Size([n * HEADS, width, width]), P), [], 0
    for i, length in enumerate(layout.lengths.tolist()):
        rows = projected[start : start + length].unflatten(1, (3, HEADS, -1))  # (T, 3, H, d)
        start += length
        for h in range(HEADS):
            query, key, value = rows[:, :, h].unbind(1)
            weights = (query @ key.T / value.shape[1] ** 0.5).softmax(-1)
            mixed.append(weights * kept[i * HEADS + h, :length, :length] / (1 - P) @ value)
    heads = [torch.cat(mixed[i : i + HEADS], 1) for i in range(0, len(mixed), HEADS)]
    return torch.cat(heads)


@pytest.mark.parametrize("lengths", [[3, 3, 3], [1, 2, 5]])
def test_self_attention_and_its_gradient(monkeypatch, lengths):
    monkeypatch.setattr(encoder.attention, "keep_mask", fixed_mask)
    torch.manual_seed(0)
    layout = Layout.packed(torch.tensor(lengths))
    x = torch.randn(sum(lengths), 3 * SIZE, dtype=torch.float64, requires_grad=True)
    mixed = SelfAttention.apply(x, layout, HEADS, P)
    expected = by_sequence(x, layout)
    torch.testing.assert_close(mixed, expected)
    above = torch.randn_like(mixed)
    torch.testing.assert_close(torch.autograd.grad(mixed, x, above), torch.autograd.grad(expected, x, above))


def test_runs_of_sequences_go_to_their_rows(monkeypatch):
    monkeypatch.setattr("encoder.packing.SMALL_RUN", 2)
    torch.manual_seed(0)
    lengths = torch.tensor([1, 2, 4, 8])
    layout, layer = Layout.packed(lengths), Attention(SIZE, HEADS, 1e-9).double()
    assert len(layout.parts()) > 2
    x = torch.randn(15, SIZE, dtype=torch.float64, requires_grad=True)
    got = layer.train()(x, x, layout, layout)
    expected = layer.eval()(x, x, layout, layout)
    torch.testing.assert_close(got, expected)
    above = torch.randn_like(got)
    torch.testing.assert_close(torch.autograd.grad(got, x, above), torch.autograd.grad(expected, x, above))


def gradients(kept_tokens: int, monkeypatch) -> tuple[Tensor, list[Tensor]]:
    monkeypatch.setattr("encoder.model.CPU_BLOCK", 40 * 16)
    torch.manual_seed(1)
    config = ModelConfig(hidden_size=16, ff_size=16, heads=2, af_hidden=8, dropout=0.3, kept_tokens=kept_tokens)
    network = LocalNetwork(10, config).train()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    lengths = torch.tensor([30, 4, 17, 25, 40, 2])
    pooled = torch.cat(network(Ragged(torch.randn(int(lengths.sum()), 10), lengths)))
    pooled.square().sum().backward()
    return pooled.detach(), [p.grad for p in network.parameters()]


def test_computing_blocks_twice_changes_no_gradient(monkeypatch):
    calls: list[int] = []
    real = LocalNetwork._packed
    monkeypatch.setattr(LocalNetwork, "_packed", lambda *args: calls.append(1) or real(*args))
    all_kept, once = gradients(1000, monkeypatch), len(calls)
    some_kept = gradients(50, monkeypatch)
    assert len(calls) > 2 * once, "some blocks went through the network again"
    torch.testing.assert_close(some_kept, all_kept, rtol=0, atol=0)
