"""Properties of the encoders that hold for every configuration, and the variants that the published code cannot run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from encoder.config import LossConfig, ModelConfig
from encoder.data.ragged import Batch, Ragged
from encoder.losses import coot_loss
from encoder.model import build_model
from training.errors import CootmartError

TINY = ModelConfig(video_dim=10, text_dim=6, hidden_size=16, heads=2, ff_size=12, af_hidden=8, pad_clips_to=7)
POOLERS = ("af", "max", "mean", "cls", "padded_mean", "padded_mean_all", "fixed_mean", "fixed_mean_all")
VARIANTS = [
    *({"local_pooler": name} for name in POOLERS[:4]),
    *({"global_pooler": name} for name in POOLERS),
    {"layers": 3},
    {"context": False},
    {"local_pooler": "af", "af_layers": 2},
    {"local_pooler": "cls", "global_pooler": "cls", "layers": 2},
    {"network": "hse"},
]


def sequences(lengths, width, generator):
    return Ragged(torch.randn(sum(lengths), width, generator=generator), torch.tensor(lengths))


def batch_of(clip_lengths, seed=0):
    """Videos given as lists of their clips' lengths."""
    g = torch.Generator().manual_seed(seed)
    flat = [n for clips in clip_lengths for n in clips]
    whole = [sum(clips) for clips in clip_lengths]
    return Batch(
        [f"v{i}" for i in range(len(clip_lengths))],
        sequences(whole, 10, g),
        sequences(flat, 10, g),
        sequences([n + 2 for n in whole], 6, g),
        sequences([n + 1 for n in flat], 6, g),
        torch.tensor([len(clips) for clips in clip_lengths]),
    )


def first_video(batch):
    """The first video of a batch as a batch of its own."""
    n = int(batch.clip_num[0])
    parts = [(batch.vid, 1), (batch.clip, n), (batch.par, 1), (batch.sent, n)]
    taken = (Ragged(r.values[: int(r.lengths[:k].sum())], r.lengths[:k]) for r, k in parts)
    return Batch(batch.keys[:1], *taken, batch.clip_num[:1])


def name_of(variant):
    return ",".join(f"{key}={value}" for key, value in variant.items())


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_every_variant_learns(variant):
    torch.manual_seed(0)
    model, batch = build_model(replace(TINY, dropout=0.0, **variant)), batch_of([[3, 1, 4], [2], [5, 2]])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss, parts = coot_loss(model(batch), LossConfig(), reduce=lambda loss, mask: loss.mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert set(parts) == {"high", "low", "context", "high_cluster", "low_cluster", "cycle"}
    assert losses[-1] < 0.8 * losses[0]
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert unused == []


@pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
def test_a_video_does_not_depend_on_its_batch(variant):
    """Except with the averages that count padding, which depend on the longest video of the batch."""
    torch.manual_seed(1)
    model, batch = build_model(replace(TINY, **variant)).eval(), batch_of([[3, 4], [2, 2, 2, 5], [5]])
    together, alone = model(batch), model(first_video(batch))
    pads = replace(TINY, **variant).global_pooler.startswith("padded") and variant.get("network") != "hse"
    for modality in ("video", "text"):
        a, b = getattr(together, modality), getattr(alone, modality)
        torch.testing.assert_close(a.low[:2], b.low)
        torch.testing.assert_close(a.context[:1], b.context)
        assert torch.allclose(a.high[:1], b.high, atol=1e-5) != pads


def test_one_clip_and_eighty_clips():
    torch.manual_seed(2)
    model = build_model(TINY)
    output = model(batch_of([[1], [1, 2] * 42]))
    loss, _ = coot_loss(output, LossConfig())
    loss.backward()
    assert output.video.high.shape == (2, 32)
    assert output.video.low.shape == (85, 16)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_hse_has_the_size_that_the_paper_gives():
    model = build_model(ModelConfig(network="hse", video_dim=2048, text_dim=300, hidden_size=1024))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(26e6, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, r"model\.heads: found 3, expected a divisor of model\.hidden_size, 16"),
        ({"af_heads": 3}, r"model\.af_heads: found 3, expected a divisor of model\.hidden_size"),
        ({"hidden_size": 24, "heads": 3, "af_heads": 3}, r"model\.af_heads: .* model\.af_hidden, 8"),
        ({"heads": 0}, r"model\.heads: found 0, expected 1 or more"),
        ({"layers": 0}, r"model\.layers: found 0"),
        ({"dropout": 1.0}, r"model\.dropout: found 1\.0, expected 0 or more, below 1"),
    ],
)
def test_impossible_sizes(wrong, message):
    with pytest.raises(CootmartError, match=message):
        replace(TINY, **wrong)


def test_unknown_names():
    with pytest.raises(CootmartError, match=r"model\.network: found 'rnn', expected one of coot, hse"):
        build_model(replace(TINY, network="rnn"))
    with pytest.raises(CootmartError, match="pooler: found 'sum'"):
        build_model(replace(TINY, local_pooler="sum"))


def test_sequences_that_are_too_long():
    model = build_model(replace(TINY, global_pooler="fixed_mean", pad_clips_to=3))
    with pytest.raises(CootmartError, match=r"pad_clips_to: found 3, but a video has 4 clips"):
        model(batch_of([[1, 2, 1, 1]]))
    with pytest.raises(CootmartError, match="a sequence of 1001 frames or words, expected at most 1000"):
        model(batch_of([[1001]]))


def test_seed_fixes_the_initialisation():
    weights = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        weights.append(build_model(TINY).video_local.input_fc.weight)
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])
    assert weights[0].abs().max() <= 0.02 + 1e-6, "cut at two standard deviations"
