"""The benchmark's comparison of words holds for the true decoding and fails for a wrong one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from captioner.data import collate
from captioner.models.blocks import Attention
from tests.captioner.tiny import tiny_config, tiny_model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import bench_captioner
from bench_captioner import ready_to_write, youcook2_items
from roofline import Products, Rates
from unpacked_captioner import Uncached, published_greedy


class Forgetful(Uncached):
    """It knows nothing of the sentences before."""

    def begin(self, video, lengths, memory):
        return super().begin(video, lengths, None)


def forgetful_greedy(model, steps):
    """Each sentence as if it were the first one."""
    written = [published_greedy(model, [step]) for step in steps]
    return [[video[0] for video in sentences] for sentences in zip(*written, strict=True)]


@pytest.fixture(scope="module")
def model():
    captioner = tiny_model("mart", hidden_size=64, intermediate_size=64, vocab_size=200, max_v_len=3, max_t_len=22)
    ready_to_write(captioner, collate(youcook2_items(8, captioner.config)))
    return captioner


@pytest.mark.parametrize("kind", ["greedy", "beam"])
def test_both_sides_write_the_same_words(model, kind):
    bench_captioner.require_same_words(model, kind)
    items = youcook2_items(4, model.config)
    ours, published = (side() for side in bench_captioner.decoders(model, kind, items))
    assert len({tuple(sentence) for video in ours for sentence in video}) > 10
    assert bench_captioner.require_alike(kind, ours, bench_captioner.first_sentences(published, items)) >= 3


@pytest.mark.parametrize(
    ("kind", "side", "wrong"), [("greedy", "published_greedy", forgetful_greedy), ("beam", "Uncached", Forgetful)]
)
def test_a_side_without_memory_is_found_out(model, kind, side, wrong, monkeypatch):
    monkeypatch.setattr(bench_captioner, side, wrong)
    with pytest.raises(SystemExit, match=f"{kind}: .* different words"):
        bench_captioner.require_same_words(model, kind)


def test_one_sentence_in_ten_may_differ():
    found = [[[7, 8], [9], [7], [8]]] * 5
    other = [[[7, 8], [9], [7], [7]], *found[1:]]
    assert bench_captioner.require_alike("greedy", found, found) == 5
    assert bench_captioner.require_alike("greedy", found, other) == 4
    early = [[[7], [1], [1], [1]], *found[1:]]  # what stands behind the first difference is not held against it
    assert bench_captioner.require_alike("greedy", found, early) == 4
    with pytest.raises(SystemExit, match="agree about 3 of 5 videos"):
        bench_captioner.require_alike("greedy", found, [*early[:1] * 2, *found[2:]])


def test_floor_of_a_product():
    x, weight = torch.ones(5, 8), torch.ones(3, 8)
    for rates, floor in ((Rates(1e3, 1e12), 0.24), (Rates(1e12, 1e3), 4 * (5 * 8 + 3 * 8) / 1e3)):
        with torch.inference_mode(), Products(rates) as found:
            torch.nn.functional.linear(x, weight)
            x + 1
        assert (found.flops, found.floor) == (240, pytest.approx(floor))


def test_summary_without_keys_and_values():
    torch.manual_seed(0)
    attention, memory, x = Attention(tiny_config("mart")).eval(), torch.randn(4, 2, 16), torch.randn(4, 7, 16)
    mask = (torch.arange(7) < torch.tensor([[7], [3], [1], [5]]))[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(attention.summarize(memory, x, mask), attention(memory, x, mask))
