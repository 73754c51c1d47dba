"""Self-attention with a gradient written out, and blocks that are computed twice, against the plain way."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from encoder.attention import Attention, SelfAttention
from encoder.config import ModelConfig
from encoder.data.ragged import Ragged
from encoder.model import LocalNetwork
from encoder.packing import Layout
from training.kernels.rows import dropout
from training.kernels.scalars import dropout_stream

HEADS, SIZE, P = 2, 8, 0.25


def by_sequence(projected: Tensor, layout: Layout, mask: Tensor) -> Tensor:
    """One run of sequences, one after the other, one head after the other; ``mask`` (n H T, T) is that of dropout."""
    mask, mixed, start = mask.view(-1, layout.width, layout.width), [], 0
    for i, length in enumerate(layout.lengths.tolist()):
        rows = projected[start : start + length].unflatten(1, (3, HEADS, -1))  # (T, 3, H, d)
        start += length
        for h in range(HEADS):
            query, key, value = rows[:, :, h].unbind(1)
            weights = (query @ key.T / value.shape[1] ** 0.5).softmax(-1)
            mixed.append(weights * mask[i * HEADS + h, :length, :length] @ value)
    heads = [torch.cat(mixed[i : i + HEADS], 1) for i in range(0, len(mixed), HEADS)]
    return torch.cat(heads)


@pytest.mark.parametrize("lengths", [[3, 3, 3], [1, 2, 5], [20, 33], [130]])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_self_attention_and_its_gradient(lengths, kind):
    layout = Layout.packed(torch.tensor(lengths))
    torch.manual_seed(0)
    mask = torch.empty(len(lengths) * HEADS * layout.width, layout.width)
    dropout(torch.ones_like(mask), mask, dropout_stream(P))
    x = torch.randn(sum(lengths), 3 * SIZE).to(kind)
    above = torch.randn(sum(lengths), SIZE).to(kind)
    exact = x.double().requires_grad_()
    expected = by_sequence(exact, layout, mask)
    torch.manual_seed(0)
    mixed = SelfAttention.apply(x.requires_grad_(), layout, HEADS, P)
    loose = {} if kind == torch.float32 else {"atol": 0.03, "rtol": 0.03}
    torch.testing.assert_close(mixed.double(), expected, check_dtype=False, **loose or {"atol": 1e-5, "rtol": 1e-5})
    (slopes,) = torch.autograd.grad(mixed, x, above)
    (right,) = torch.autograd.grad(expected, exact, above.double())
    torch.testing.assert_close(slopes.double(), right, **loose or {"atol": 1e-5, "rtol": 1e-5})


def test_padded_positions_look_but_are_not_looked_at():
    torch.manual_seed(0)
    layout, x = Layout.padded(torch.tensor([2, 4]), 4), torch.randn(8, 3 * SIZE)
    other = x.clone()
    other[2:4, SIZE:] += 1
    first, second = (SelfAttention.apply(rows, layout, HEADS, 0.0) for rows in (x, other))
    assert first.equal(second)
    assert first[3].abs().sum() > 0


def test_threads_change_nothing():
    results, threads = [], torch.get_num_threads()
    layout, x = Layout.packed(torch.tensor([1, 2, 5, 9, 20])), torch.randn(37, 3 * SIZE, requires_grad=True)
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            torch.manual_seed(0)
            mixed = SelfAttention.apply(x, layout, HEADS, P)
            results.append([mixed, *torch.autograd.grad(mixed.square().sum(), x)])
    finally:
        torch.set_num_threads(threads)
    assert all(one.equal(two) for one, two in zip(*results, strict=True))


def test_nobody_learns_from_padded_keys():
    layout, x = Layout.padded(torch.tensor([2, 4]), 4), torch.randn(8, 3 * SIZE, requires_grad=True)
    (slopes,) = torch.autograd.grad(SelfAttention.apply(x, layout, HEADS, 0.0).sum(), x)
    assert (slopes[2:4, SIZE:] == 0).all()
    assert (slopes[4:, 2 * SIZE :] != 0).any(1).all()


def test_runs_of_sequences_go_to_their_rows(monkeypatch):
    monkeypatch.setattr("encoder.packing.SMALL_RUN", 2)
    torch.manual_seed(0)
    lengths = torch.tensor([1, 2, 4, 8])
    layout, layer = Layout.packed(lengths), Attention(SIZE, HEADS, 0.5).eval()
    assert len(layout.parts()) > 2
    x = torch.randn(15, SIZE, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    got = layer(x, x, layout, layout)
    expected = deepcopy(layer).double()(exact, exact, layout, layout)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)
    above = torch.randn_like(expected)
    (slopes,), (right,) = torch.autograd.grad(got, x, above.float()), torch.autograd.grad(expected, exact, above)
    torch.testing.assert_close(slopes.double(), right, atol=1e-5, rtol=1e-5)


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
    all_kept, once = gradients(117, monkeypatch), len(calls)
    some_kept = gradients(50, monkeypatch)
    assert len(calls) > 2 * once, "some blocks went through the network again"
    torch.testing.assert_close(some_kept, all_kept, rtol=0, atol=0)
