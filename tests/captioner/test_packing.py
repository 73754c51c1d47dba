"""Rows without padding: the few padded ones among them, and heads taken straight from them."""

from __future__ import annotations

import pytest
import torch

from captioner.batch import length_mask, places_of
from captioner.models.blocks import merge_heads, split_heads
from captioner.models.packing import Packing
from training.dropout import attention
from training.linear import rounded

LENGTHS, LENGTH, HEADS, SIZE = torch.tensor([5, 2, 7, 7, 4, 1, 6, 3]), 7, 2, 12


def test_places_hold_all_real_positions_and_fill_up_to_a_fast_number_of_rows():
    real = length_mask(LENGTHS, LENGTH)
    places = places_of(real)
    assert len(places) == rounded(int(real.sum())) == 48 > real.sum() == 35
    assert set(places.tolist()) >= set(real.flatten().nonzero().flatten().tolist())
    assert places.tolist() == sorted(set(places.tolist()))
    full = torch.ones(5, 7, dtype=torch.bool)
    assert places_of(full).tolist() == list(range(35))  # there are no more places


def by_heads(x: torch.Tensor, packing: Packing, mask: torch.Tensor) -> torch.Tensor:
    return packing.merge_heads(attention(*packing.split_heads(x, HEADS, 3), mask))


def by_padding(x: torch.Tensor, packing: Packing, mask: torch.Tensor) -> torch.Tensor:
    parts = (split_heads(part, HEADS) for part in packing.unpack(x).chunk(3, dim=-1))
    return packing.pack(merge_heads(attention(*parts, mask)))


@pytest.mark.parametrize("packed", [True, False])
def test_heads_are_those_of_padded_tensors(packed):
    torch.manual_seed(0)
    real = length_mask(LENGTHS, LENGTH)
    rows = places_of(real) if packed else None
    packing = Packing(len(LENGTHS), LENGTH, rows)
    used = real.flatten() if rows is None else real.flatten()[rows]
    weight = torch.randn(len(used), SIZE, dtype=torch.float64) * used[:, None]  # padded rows end unused
    results = []
    for look in (by_heads, by_padding):
        x = torch.randn(len(used), 3 * SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        out = look(x, packing, real[:, None, None])
        (out * weight).sum().backward()
        results.append((out[used], x.grad))
    for ours, padded in zip(*results, strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-12, atol=1e-12)
    assert results[0][1].abs().max() > 0.01
