from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from encoder.config import ModelConfig
from encoder.data.dataset import EncoderDataset, Loader, collate, cut_video, open_split, open_splits
from encoder.data.frames import noisy_borders, uniform_spans
from encoder.embeddings import Embeddings, write_embeddings
from encoder.features.store import open_features, write_features
from encoder.features.text import HashedWords, WordFeatures, write_word_features
from encoder.model import CootModel
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, frames, video, write_tiny
from training.errors import CootmartError


def same(a, b):
    parts = ("vid", "clip", "par", "sent")
    return a.keys == b.keys and all(torch.equal(getattr(a, p).values, getattr(b, p).values) for p in parts)


def test_batches_are_ragged_and_ordered_video_by_video(tmp_path):
    config = write_tiny(tmp_path)
    train, val = open_splits(config, VIDEO_DIM, TEXT_DIM)
    assert (len(train), val.keys) == (5, ["v5", "v6"])
    (batch,) = Loader(val, 4)
    assert batch.keys == ["v5", "v6"] and batch.clip_num.tolist() == [4, 2]
    assert len(batch.clip) == len(batch.sent) == 6
    assert batch.vid.lengths.tolist() == [8, 8]  # 80 and 40 frames, at most 8
    assert batch.par.lengths.tolist() == [16, 8]
    for part in (batch.vid, batch.clip, batch.par, batch.sent):
        assert part.values.dtype == torch.float32 and len(part.values) == part.lengths.sum()
    first = batch.clip.split()[1][:, 0]  # 4 s to 6.25 s of 5 frames a second: frames 20 to 33
    assert first.tolist() == [20, 22, 24, 26, 27, 29, 31, 33]


def test_middle_frames_are_the_same_in_every_epoch(tmp_path):
    val = Loader(open_split(write_tiny(tmp_path), "val"), 2)
    assert same(next(val.epoch(0)), next(val.epoch(3)))


def test_an_epoch_can_be_repeated_and_epochs_differ(tmp_path):
    train = open_split(write_tiny(tmp_path), "train", random_frames=True)
    loader = Loader(train, 2, shuffle=True, seed=1)
    first, again, second = (list(loader.epoch(e)) for e in (0, 0, 1))
    assert len(loader) == len(first) == 3
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert [b.keys for b in first] != [b.keys for b in second]
    assert sorted(key for b in second for key in b.keys) == train.keys
    other = list(Loader(train, 2, shuffle=True, seed=2).epoch(0))
    assert [b.keys for b in first] != [b.keys for b in other]


def test_random_frames_do_not_depend_on_the_batch(tmp_path):
    train = open_split(write_tiny(tmp_path), "train", random_frames=True)
    one = {key: x for b in Loader(train, 1).epoch(5) for key, x in zip(b.keys, b.vid.split(), strict=True)}
    for batch in Loader(train, 4, shuffle=True).epoch(5):
        for key, x in zip(batch.keys, batch.vid.split(), strict=True):
            assert torch.equal(x, one[key])
    other = {key: x for b in Loader(train, 1).epoch(6) for key, x in zip(b.keys, b.vid.split(), strict=True)}
    assert any(not torch.equal(x, other[key]) for key, x in one.items())


def test_drop_last(tmp_path):
    train = open_split(write_tiny(tmp_path), "train")
    assert [len(b.keys) for b in Loader(train, 2)] == [2, 2, 1]
    loader = Loader(train, 2, drop_last=True)
    assert len(loader) == 2 and [len(b.keys) for b in loader] == [2, 2]
    assert list(Loader(train, 9, drop_last=True)) == []
    with pytest.raises(CootmartError, match="at least 1"):
        Loader(train, 0)


def test_leaving_an_epoch_early_is_fine(tmp_path):
    loader = Loader(open_split(write_tiny(tmp_path), "train"), 1)
    for _ in range(3):
        assert next(iter(loader)).keys == ["v0"]


def test_noise_only_in_training(tmp_path):
    config = replace(write_tiny(tmp_path), frames_noise=0.01, max_frames=1000)
    plain, noisy = open_split(config, "val"), open_split(config, "val", random_frames=True)
    a, b = next(iter(Loader(plain, 2))), next(iter(Loader(noisy, 2)))
    difference = (a.clip.values - b.clip.values).abs()
    assert 0 < difference.max() <= 0.0201
    assert torch.equal(a.sent.values, b.sent.values)


def test_a_video_with_many_clips_and_one_with_a_single_frame(tmp_path):
    videos = [video("long", 85), video("short", 1)]
    write_features(tmp_path / "f.h5", [("long", frames(900)), ("short", frames(1).astype(np.float16))])
    write_word_features(tmp_path / "w.h5", videos, HashedWords(TEXT_DIM))
    stores = open_features(tmp_path / "f.h5"), WordFeatures(tmp_path / "w.h5")
    data = EncoderDataset(videos, *stores, replace(write_tiny(tmp_path / "x"), max_frames=80))
    batch = collate([data.sample(0), data.sample(1)])
    assert batch.clip_num.tolist() == [85, 1] and batch.vid.lengths.tolist() == [80, 1]
    assert batch.clip.lengths.min() == 1
    model = CootModel(small_model()).eval()
    with torch.inference_mode():
        assert model(batch).video.high.isfinite().all()


def small_model():
    return ModelConfig(video_dim=VIDEO_DIM, text_dim=TEXT_DIM, hidden_size=16, heads=2, ff_size=16, af_hidden=16)


def test_a_segment_of_no_length_is_one_moment(tmp_path):
    config = replace(write_tiny(tmp_path), add_stop_frame=1)
    _, (clip,) = cut_video(frames(50), 10.0, [(9.99, 9.99)], config)
    assert clip[:, 0].tolist() == [49]


def test_embedding_writes_every_video_in_file_order(tmp_path):
    config = write_tiny(tmp_path)
    model = CootModel(small_model())
    written = write_embeddings(tmp_path / "e.h5", model, Loader(open_split(config, "train"), 2))
    assert model.training
    assert written.keys == ["v0", "v1", "v2", "v3", "v4"] and written.clip_num.tolist() == [1, 2, 3, 2, 1]
    assert written.vid_emb.shape == (5, 32) and written.sent_emb.shape == (9, 16)
    np.testing.assert_allclose(np.linalg.norm(written.par_emb, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "e.h5").clip_emb, written.clip_emb)


def test_bad_data_is_named_before_training(tmp_path):
    config = write_tiny(tmp_path)
    with pytest.raises(CootmartError, match="no video of split 'test'; found train, val"):
        open_split(config, "test")
    write_features(config.video_features, [("v0", frames(9))])
    with pytest.raises(CootmartError, match=r"no features of 'v1' \(4 of 5"):
        open_split(config, "train")


def test_features_of_another_width_are_named_before_training(tmp_path):
    config = write_tiny(tmp_path)
    with pytest.raises(CootmartError, match=r"frames.h5: v0: features are 6 wide, but model.video_dim is 7"):
        open_splits(config, 7, TEXT_DIM)
    with pytest.raises(CootmartError, match=r"words.h5: v0: features are 10 wide, but model.text_dim is 7"):
        open_splits(config, VIDEO_DIM, 7)


def test_bad_features_stop_the_epoch(tmp_path):
    config = write_tiny(tmp_path)
    with h5py.File(config.video_features, "a") as file:
        del file["v3"]
        file["v3"] = np.zeros((40, VIDEO_DIM + 1), np.float32)
    with pytest.raises(CootmartError, match="v3: features have width 7, expected 6"):
        list(Loader(open_splits(config, VIDEO_DIM, TEXT_DIM)[0], 2))


def test_borders_move_in_training_only(tmp_path):
    config = replace(write_tiny(tmp_path), max_frames=1000, add_stop_frame=0)
    plain, noisy = ([], [])
    for fraction, lengths in ((0.0, plain), (0.4, noisy)):
        train = open_split(replace(config, border_noise=fraction), "train", random_frames=True)
        lengths += [batch.clip.lengths for batch in Loader(train, 5)] + [
            b.clip.lengths for b in Loader(train, 5).epoch(1)
        ]
    assert torch.equal(plain[0], plain[1])
    assert not torch.equal(noisy[0], plain[0]) and not torch.equal(noisy[0], noisy[1])
    assert all(length.min() >= 1 for length in noisy)
    val = [next(iter(Loader(open_split(replace(config, border_noise=f), "val"), 2))) for f in (0.0, 0.4)]
    assert same(*val)


def test_border_noise_is_a_fraction_of_the_segment():
    rng = np.random.default_rng(0)
    spans = [(2.0, 4.0), (50.0, 90.0), (95.0, 100.0)]
    moved = np.array([noisy_borders(spans, 0.25, 100.0, rng) for _ in range(500)])
    shift, lengths = moved - np.array(spans), np.array([2, 40, 5])
    assert np.abs(shift).max((0, 2)) == pytest.approx(0.25 * lengths, rel=0.02)
    assert moved.max() == 100 and np.abs(shift.mean((0, 2)))[:2].max() < 0.5


def test_uniform_segments_split_the_video_evenly(tmp_path):
    config = replace(write_tiny(tmp_path), max_frames=1000, add_stop_frame=0, uniform_segments=True)
    (batch,) = Loader(open_split(config, "val"), 2)
    assert batch.clip_num.tolist() == [4, 2]
    assert batch.clip.lengths.tolist() == [20] * 6  # 80 frames in 4 parts, 40 in 2
    assert torch.equal(batch.clip.values, batch.vid.values)
    assert uniform_spans(10.0, 4) == [(0, 2.5), (2.5, 5), (5, 7.5), (7.5, 10)]
