"""What must hold of decoding whatever the weights are."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from captioner.batch import Batch
from captioner.config import DecodingOptions
from captioner.data import collate, pad_text
from captioner.decoding import generate, write_steps
from captioner.decoding.beam import Beams, beam_search, length_penalty
from captioner.decoding.filters import NoRepeatedNgrams, NoUnknown, completions
from captioner.decoding.sampling import nucleus
from captioner.decoding.weights import ready_for_few_rows
from captioner.models.blocks import Joinable
from captioner.models.cache import select_rows
from captioner.vocabulary import BOS, EOS, UNK
from tests.captioner.tiny import MODELS, RECURRENT, tiny_batch, tiny_items, tiny_model
from training.errors import CootmartError
from training.linear import Linear


@torch.no_grad()
def uncached_scores(model, video, lengths, text, memory):
    """Scores of the next word by running the whole sequence again."""
    text_lengths = torch.full((len(text),), text.shape[1])
    labels = torch.full_like(text, -1)
    labels[:, -1] = EOS  # only the place counts
    batch = Batch.build(("",), (0,), (len(text),), video, lengths, text, text_lengths, labels)
    if model.config.model == "mart":
        x, joint = model.embed(batch)
        hidden = model.encoder(x, joint, batch.step_rows, memory)[0][model.label_rows(batch, joint.packing)]
    elif model.config.model in ("xl", "xlgrad"):
        hidden = model.run(batch, memory)[0][:, model.config.max_v_len + text.shape[1] - 1]
    else:
        hidden = model.label_hidden(batch)
    return model.scores(hidden)


@torch.no_grad()
def uncached(model, batch: Batch) -> list[list[list[int]]]:
    """Greedy decoding as published: no cache, no early stop."""
    sentences, memory = [], None
    for rows in batch.step_rows if model.recurrent else (slice(0, batch.n_sentences),):
        video, lengths = batch.video[rows], batch.video_lengths[rows]
        memory = select_rows(memory, torch.arange(len(video)))
        text = torch.full((len(video), 1), BOS)
        for _ in range(model.config.max_t_len - 1):
            scores = uncached_scores(model, video, lengths, text, memory)
            scores[:, UNK] = -1e10
            text = torch.cat([text, scores.argmax(1, keepdim=True)], dim=1)
        words = [row[: row.index(EOS) + 1] if EOS in row else row for row in text.tolist()]
        memory = model.remember(video, lengths, *pad_text(words), memory)
        sentences += [[w for w in row[1:] if w != EOS] for row in words]
    return batch.by_video(sentences)


@pytest.mark.parametrize("name", MODELS)
def test_cached_equals_uncached(name):
    """On more than 1,000 sentences a model, with one feature a clip and with up to three."""
    written = []
    for seed in range(6):
        model, batch = tiny_model(name, seed), tiny_batch(80, seed=seed, n_features=1 + 2 * (seed % 2))
        found = generate(model, batch)
        assert found == uncached(model, batch)
        written += [tuple(sentence) for video in found for sentence in video]
    assert len(written) > 1000
    assert len(set(written)) > 40  # not the same sentence for every clip
    assert len({len(sentence) for sentence in written}) > 3


@pytest.mark.parametrize("name", MODELS)
def test_fixed_memory_mask_is_cached_too(name):
    model = tiny_model(name, xl_memory_mask="key")
    batch = tiny_batch(20, n_features=3)
    assert generate(model, batch) == uncached(model, batch)


@pytest.mark.parametrize("name", RECURRENT)
def test_memory_changes_what_is_written(name):
    model, batch = tiny_model(name), tiny_batch(20)
    alone = Batch.one_step(batch.video, batch.video_lengths, batch.text, batch.text_lengths)
    together = [sentence for video in generate(model, batch) for sentence in video[1:]]
    videos = batch.by_video([video[0] for video in generate(model, alone)])
    assert together != [sentence for video in videos for sentence in video[1:]]


@pytest.mark.parametrize("name", MODELS)
def test_beam_of_one_is_greedy(name):
    model, batch = tiny_model(name), tiny_batch(20)
    length = model.config.max_t_len - 2
    # sentences that do not end get an [EOS] in beam search only, so the memories agree where all end in time
    batch = Batch.one_step(batch.video, batch.video_lengths, batch.text, batch.text_lengths)
    greedy = generate(model, batch, DecodingOptions(max_length=length))
    assert generate(model, batch, DecodingOptions(strategy="beam", beam_size=1, max_length=length)) == greedy


@pytest.mark.parametrize("name", ["mart", "xl", "vanilla"])
def test_full_beam_finds_the_most_probable_sentence(name):
    model, length = tiny_model(name, vocab_size=8, max_t_len=5), 3
    batch = tiny_batch(3, most=1, n_features=1, vocab_size=8)
    options = DecodingOptions(strategy="beam", beam_size=8**length, max_length=length)
    with torch.no_grad():
        state = model.begin(batch.video, batch.video_lengths, None)
        found = beam_search(model, state, batch.video, [NoUnknown()], options, length)
    for row in range(3):
        best = max(every_sentence(8, length), key=lambda words: log_probability(model, batch, row, words, length))
        assert found[row][0].words == best
        assert found[row][0].score == pytest.approx(log_probability(model, batch, row, best, length), abs=1e-4)


def every_sentence(n_words: int, length: int):
    words = [w for w in range(n_words) if w not in (EOS, UNK)]
    return [s for n in range(length + 1) for s in itertools.product(words, repeat=n)]


def log_probability(model, batch, row: int, words: tuple[int, ...], length: int) -> float:
    """Of the words and the end behind them; a sentence of full length needs no end."""
    ended = (*words, EOS) if len(words) < length else words
    text, total = [BOS], 0.0
    for word in ended:
        scores = cached(model, batch, row, tuple(text))
        total += float(scores[word])
        text.append(word)
    return total


_scores: dict = {}


def cached(model, batch, row: int, text: tuple[int, ...]) -> torch.Tensor:
    key = id(model), row, text
    if key not in _scores:
        one = slice(row, row + 1)
        scores = uncached_scores(model, batch.video[one], batch.video_lengths[one], torch.tensor([text]), None)
        scores[:, UNK] = -torch.inf
        _scores[key] = scores.log_softmax(1)[0], model  # keeps the model, so that its id stays its own
    return _scores[key][0]


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("scope", ["no_repeat_ngram", "no_repeat_ngram_in_paragraph"])
def test_blocked_ngrams_never_repeat(strategy, scope):
    model, batch = tiny_model("mart"), tiny_batch(30)
    free = generate(model, batch, DecodingOptions(strategy=strategy))
    blocked = generate(model, batch, DecodingOptions(strategy=strategy, **{scope: 2}))
    whole = scope.endswith("paragraph")
    assert repeats(free, whole) > 0
    assert repeats(blocked, whole) == 0


def repeats(paragraphs: list, whole: bool) -> int:
    units = [s for video in paragraphs for s in video]
    if whole:
        units = [list(itertools.chain(*video)) for video in paragraphs]
    bigrams = [list(itertools.pairwise(unit)) for unit in units]
    return sum(len(pairs) - len(set(pairs)) for pairs in bigrams)


def test_completions():
    assert completions([7, 8, 9, 7, 8], 3) == [9]
    assert completions([7, 8, 9], 3) == []
    assert completions([7], 3) == []
    assert sorted(completions([7, 8, 7], 1)) == [7, 7, 8]


def test_paragraph_filter_knows_what_was_said():
    scores = torch.zeros(2, 10)
    NoRepeatedNgrams(2, history=[[7, 8], [9, 9]])(scores, torch.tensor([[BOS, 7], [BOS, 7]]), [0, 1])
    assert scores[0, 8] == -torch.inf and scores[1].isfinite().all()


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_length_limits(strategy):
    model, batch = tiny_model("mart"), tiny_batch(20)
    options = DecodingOptions(strategy=strategy, min_length=3, max_length=5)
    lengths = [len(s) for video in generate(model, batch, options) for s in video]
    assert min(lengths) >= 3 and max(lengths) <= 5


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_unknown_is_written_only_when_allowed(strategy):
    model, batch = tiny_model("norec"), tiny_batch(20)
    with torch.no_grad():
        model.decoder.bias[UNK] += 100.0
    written = generate(model, batch, DecodingOptions(strategy=strategy))
    assert not any(UNK in s for video in written for s in video)
    written = generate(model, batch, DecodingOptions(strategy=strategy, allow_unknown=True))
    assert all(set(s) == {UNK} for video in written for s in video)


def test_length_penalties_change_the_ranking():
    assert length_penalty("wu", 0.6, 7) == pytest.approx(2**0.6)
    assert length_penalty("avg", 0.0, 7) == 7.0
    assert length_penalty("none", 0.9, 7) == 1.0
    best = {}
    for kind in ("none", "avg"):
        options = DecodingOptions(strategy="beam", beam_size=2, n_best=2, length_penalty=kind)
        beams = Beams(1, options, 5, torch.device("cpu"))
        first, second = torch.full((2, 10), -50.0), torch.full((2, 10), -50.0)
        first[:, [EOS, 7]] = torch.tensor([-1.0, -1.2])  # the end, or a word...
        second[:, EOS] = -0.2  # ... and the end then
        beams.advance(first)
        beams.advance(second)
        best[kind] = beams.best()[0][0].words
    assert best == {"none": (), "avg": (7,)}


def test_n_best_are_sorted_and_different():
    model, batch = tiny_model("mart"), tiny_batch(10, most=1)
    options = DecodingOptions(strategy="beam", beam_size=4, n_best=3)
    with torch.no_grad():
        state = model.begin(batch.video, batch.video_lengths, None)
        found = beam_search(model, state, batch.video, [NoUnknown()], options, 7)
    for hypotheses in found:
        scores = [h.score for h in hypotheses]
        assert len(scores) == 3 and scores == sorted(scores, reverse=True)
        assert len({h.words for h in hypotheses}) == 3


def test_finished_beams_leave():
    beams = Beams(2, DecodingOptions(strategy="beam", beam_size=2), 5, torch.device("cpu"))
    log_probs = torch.full((4, 10), -10.0)
    log_probs[0, EOS] = -0.1  # the first sentence ends at once
    log_probs[2, 7] = -0.1
    rows = beams.advance(log_probs)
    assert beams.sentences == [1] and rows.tolist() == [2, 2]
    assert beams.best()[0][0].words == ()


def test_nucleus():
    p = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    assert nucleus(p, 0.6).ne(0).tolist() == [[True, True, False, False]]
    assert nucleus(p, 0.5).ne(0).tolist() == [[True, False, False, False]]
    assert torch.equal(nucleus(p, 1.0), p)


def test_sampling_follows_its_seed_and_cools_to_greedy():
    model, batch = tiny_model("mart"), tiny_batch(10)

    def sampled(**options):
        return generate(model, batch, DecodingOptions(strategy="sample", **options))

    assert sampled(seed=1) == sampled(seed=1) != sampled(seed=2)
    assert sampled(temperature=1e-4) == generate(model, batch)


def test_draws_of_a_sentence_differ_and_leave_the_first_alone():
    model, batch = tiny_model("mart"), tiny_batch(10)
    options = DecodingOptions(strategy="sample", n_best=4, temperature=1.5)
    rows = [hypotheses for step in write_steps(model, batch, options) for hypotheses in step]
    assert [row[0] for row in rows[: len(batch.names)]] == [
        step[0] for step in next(write_steps(model, batch, replace(options, n_best=1)))
    ]
    for hypotheses in rows:
        assert 1 <= len(hypotheses) <= 4
        assert len({tuple(words) for words in hypotheses}) == len(hypotheses)
    assert sum(map(len, rows)) > 2 * len(rows)
    assert generate(model, batch, options) == batch.by_video([row[0] for row in rows])


def test_ended_sentences_are_left_out_and_nothing_changes(monkeypatch):
    """Rows leave the computation while others go on; the words are those of a batch of one."""
    model, batch = tiny_model("mart"), tiny_batch(30)
    with torch.no_grad():
        model.decoder.bias[EOS] += 1.0  # about half end early
    sizes: list[int] = []
    step = model.step
    monkeypatch.setattr(model, "step", lambda state, words: (sizes.append(len(words)), step(state, words))[1])
    together = generate(model, batch)
    assert sizes[0] == 30 and 0 < sizes[4] <= 16
    items = tiny_items(30)
    assert together == [generate(model, collate([item]))[0] for item in items]


@pytest.mark.parametrize("name", MODELS)
def test_weights_made_for_writing_give_the_same_scores(name):
    model, batch = tiny_model(name), tiny_batch(2)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.normal_()  # they start as zeros, which would hide one that is left out

    @torch.inference_mode()
    def scores() -> torch.Tensor:
        rows = batch.step_rows[0]
        state = model.begin(batch.video[rows], batch.video_lengths[rows], None)
        words = batch.text[rows, 0]
        return torch.stack([model.step(state, words), model.step(state, words + 6)])

    def made() -> list[bool]:
        return [part.packed is not None for part in model.modules() if isinstance(part, Linear)] + [
            part.joint is not None for part in model.modules() if isinstance(part, Joinable)
        ]

    expected = scores()
    with ready_for_few_rows(model):
        with ready_for_few_rows(model):
            found = scores()
        assert all(made())  # who came second takes nothing away
    assert not any(made())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(scores(), expected)


@pytest.mark.parametrize("name", MODELS)
def test_weights_can_be_trained_while_others_write(name):
    model, batch = tiny_model(name).eval(), tiny_batch(2)
    model.loss(batch)[0].backward()
    expected = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with ready_for_few_rows(model):
        model.loss(batch)[0].backward()
    assert expected and all(torch.equal(dict(model.named_parameters())[key].grad, g) for key, g in expected.items())
    assert set(model.state_dict()) == set(tiny_model(name).state_dict())


@pytest.mark.parametrize(
    "wrong",
    [{"strategy": "magic"}, {"beam_size": 0}, {"top_p": 0.0}, {"n_best": 3}, {"temperature": 0.0}, {"min_length": -1}],
)
def test_wrong_options_are_named(wrong):
    with pytest.raises(CootmartError, match=f"decoding.{next(iter(wrong))}"):
        DecodingOptions(**wrong)


def test_a_killed_hypothesis_ranks_the_same_however_long_it_is_dead():
    """As published: the score of a path with a repeated n-gram is set, not lowered again at each word."""
    options = DecodingOptions(strategy="beam", beam_size=2, no_repeat_ngram=1, kill_repeating_paths=True)
    beams = Beams(1, options, 9, torch.device("cpu"))
    beams.log_probs[:] = torch.tensor([[-1e21, -3.0]])
    beams.advance(torch.zeros(2, 8), [True, True])
    assert beams.log_probs[0].tolist() == pytest.approx([-1e21, -1e21])
