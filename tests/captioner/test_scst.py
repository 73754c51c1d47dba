"""Self-critical training raises what it rewards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from captioner.config import CaptionerConfig, DecodingOptions, ScstConfig
from captioner.decoding import generate
from captioner.folder import load_captioner, save_captioner
from captioner.models import build_model
from captioner.scst import ScstStage, starting_point, videos_of_labels, with_text
from captioner.train import open_data, train
from captioner.vocabulary import BOS, EOS, IGNORE, UNK, Vocabulary
from evaluation import score
from tests.captioner.tiny import MODELS, tiny_batch, tiny_config, tiny_model
from tests.captioner.toy import toy_config, write_toy_data
from training.errors import CootmartError


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> CaptionerConfig:
    """The configuration of a captioner that has learned a little; it lies in ``scst.start``."""
    folder = tmp_path_factory.mktemp("start")
    config = toy_config(write_toy_data(folder, 60, 10), epochs=8)
    config = replace(config, loop=replace(config.loop, validate_from=7))
    train(config, folder / "run")
    return replace(config, scst=ScstConfig(str(folder / "run")))


@pytest.fixture
def stage(start, tmp_path) -> ScstStage:
    torch.manual_seed(0)
    config = starting_point(start)
    return ScstStage(config, open_data(config), torch.device("cpu"), tmp_path)


@pytest.mark.parametrize("baseline", ["others", "greedy"])
def test_reward_rises(start, tmp_path, baseline):
    config = replace(
        start,
        scst=replace(start.scst, baseline=baseline),
        optimizer=replace(start.optimizer, lr=5e-4),
        loop=replace(start.loop, epochs=14, validate_from=13),
    )
    history = train(config, tmp_path)
    rewards = [record["train_reward"] for record in history]
    assert rewards[-1] > 1.3 * rewards[0]
    model, vocabulary, found = load_captioner(tmp_path)
    assert found.scst.start == start.scst.start
    assert vocabulary.tokens == Vocabulary.load(f"{start.scst.start}/vocabulary.json").tokens
    assert not torch.equal(next(model.parameters()), next(load_captioner(start.scst.start)[0].parameters()))


def test_reward_is_the_score(stage):
    videos = np.arange(12)
    paragraphs = generate(stage.model, stage._collate(videos), DecodingOptions(strategy="sample"))
    items = [stage.train[i] for i in range(len(stage.train))]
    references = {item.annotation.name: " ".join(item.annotation.sentences) for item in items}
    said = {
        items[i].annotation.name: [stage.vocabulary.decode(words) for words in sentences]
        for i, sentences in enumerate(paragraphs)
    }
    card = score(said, references, metrics=("CIDEr", "repetition"))
    expected = [card.per_video[name]["CIDEr"] for name in said]
    np.testing.assert_allclose(stage._rewards(paragraphs, videos), expected, rtol=1e-5)
    repeated = [[[7, 8, 9, 10, 11]] * 2 for _ in videos]  # half of the n-grams have been said before
    plain = stage._rewards(repeated, videos)
    stage.config = replace(stage.config, scst=replace(stage.config.scst, repetition_penalty=3.0))
    np.testing.assert_allclose(stage._rewards(repeated, videos), plain - 1.5, rtol=1e-5)


def test_learned_probabilities_are_those_of_the_draw(stage):
    """The log probability of drawn words equals the one by which decoding drew them, word by word."""
    batch = stage._collate(np.arange(6))
    stage.model.eval()
    drawn = generate(stage.model, batch, DecodingOptions(strategy="sample", seed=5))
    spoken = with_text(batch, drawn, stage.config.model.max_t_len)
    with torch.no_grad():
        found = stage._log_probs(spoken)
        expected, memory = [], None
        for rows in spoken.step_rows:
            video, lengths, text = spoken.video[rows], spoken.video_lengths[rows], spoken.text[rows]
            memory = memory and [cells[: len(video)] for cells in memory]
            state = stage.model.begin(video, lengths, memory)
            for t in range(text.shape[1] - 1):
                scores = stage.model.step(state, text[:, t])
                scores[:, UNK] = -torch.inf
                chosen = scores.log_softmax(1).gather(1, text[:, t + 1 : t + 2]).squeeze(1)
                expected.append(chosen.where(t + 1 < spoken.text_lengths[rows], torch.nan))
            memory = stage.model.remember(video, lengths, text, spoken.text_lengths[rows], memory)
    n, flat = spoken.text.shape[1] - 1, iter(expected)
    by_row = torch.cat([torch.stack([next(flat) for _ in range(n)], dim=1) for _ in spoken.step_rows])  # (T, n)
    torch.testing.assert_close(found, by_row[~by_row.isnan()], atol=1e-4, rtol=1e-4)


def test_loss_follows_the_reward(stage):
    """A step down the gradient makes the better of two draws more probable, and the worse one less."""
    stage.config = replace(stage.config, scst=replace(stage.config.scst, samples=2))
    draw = next(iter(stage.batches(0)))
    draw = replace(draw, videos=draw.videos[:1])
    batch = stage._collate(np.tile(draw.videos, 2))
    loss, parts = stage.loss(draw)
    drawn = generate(stage.model, batch, replace(stage.drawing, seed=draw.seed))
    rewards = stage._rewards(drawn, np.tile(draw.videos, 2))
    assert rewards[0] != rewards[1] and parts["reward"] == rewards.mean()
    spoken = with_text(batch, drawn, stage.config.model.max_t_len)

    def log_probs() -> torch.Tensor:
        with torch.no_grad():
            return torch.zeros(2).index_add_(0, videos_of_labels(spoken), stage._log_probs(spoken))

    before = log_probs()
    loss.backward()
    with torch.no_grad():
        for p in stage.model.parameters():
            if p.grad is not None:
                p -= 1e-4 * p.grad
    change = log_probs() - before
    better = int(rewards.argmax())
    assert change[better] > 0 > change[1 - better]


@pytest.mark.parametrize("name", MODELS)
def test_text_of_a_batch(name):
    model, batch = tiny_model(name), tiny_batch(8)
    paragraphs = generate(model, batch)
    spoken = with_text(batch, paragraphs, model.config.max_t_len)
    rows = [[w for w in row if w >= 0] for row in spoken.text.tolist()]
    found = batch.by_video([row[1:n] for row, n in zip(rows, spoken.text_lengths.tolist(), strict=True)])
    full = model.config.max_t_len - 1
    assert found == [[s if len(s) == full else [*s, EOS] for s in video] for video in paragraphs]
    assert spoken.text[:, 0].eq(BOS).all() and IGNORE not in spoken.labels
    videos = videos_of_labels(spoken).bincount(minlength=8).tolist()
    assert videos == [sum(len(s) + (len(s) < full) for s in video) for video in paragraphs]
    assert model.loss(spoken)[0].isfinite()


def test_draws_are_the_same_at_every_call(stage):
    first, again = ([(d.videos.tolist(), d.seed) for d in stage.batches(1)] for _ in range(2))
    assert first == again and first != [(d.videos.tolist(), d.seed) for d in stage.batches(2)]
    assert sorted(v for videos, _ in first for v in videos) == list(range(len(stage.train)))


def test_wrong_starting_points(start, tmp_path):
    with pytest.raises(CootmartError, match=r"no config\.yaml"):
        starting_point(replace(start, scst=ScstConfig(str(tmp_path))))
    with pytest.raises(CootmartError, match=r"data\.features: found 'vid', expected 'clip'"):
        starting_point(replace(start, data=replace(start.data, features="vid")))
    for wrong in ({"samples": 1}, {"baseline": "mean"}, {"repetition_penalty": -1.0}):
        with pytest.raises(CootmartError, match=f"scst.{next(iter(wrong))}"):
            ScstConfig(**wrong)


def test_the_network_comes_from_the_start(tmp_path, start):
    config = CaptionerConfig(model=tiny_config("norec", max_t_len=7), data=start.data)
    save_captioner(build_model(config.model), Vocabulary([f"w{i}" for i in range(23)]), config, tmp_path, "card")
    found = starting_point(replace(start, scst=ScstConfig(str(tmp_path))))
    assert found.model == config.model and len(Vocabulary.load(found.data.vocabulary)) == 30
