"""Videos and clips for a new sentence, with the word features that the encoder was trained on."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest

from cootmart.cli import main
from encoder.config import EncoderConfig, FeatureConfig, ModelConfig
from encoder.embed import embed_split
from encoder.embeddings import Embeddings
from encoder.folder import save_encoder
from encoder.model import build_model
from encoder.search import Searcher, embed_text
from tests.encoder.tiny import TEXT_DIM, VIDEO_DIM, write_tiny
from training.errors import CootmartError

MODEL = ModelConfig(video_dim=VIDEO_DIM, text_dim=TEXT_DIM, hidden_size=16, heads=2, ff_size=16, af_hidden=16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model folder and an embeddings file of the training split."""
    folder = tmp_path_factory.mktemp("model")
    config = EncoderConfig(model=MODEL, data=write_tiny(folder), features=FeatureConfig(words=f"hashed:{TEXT_DIM}"))
    save_encoder(folder / "m", build_model(MODEL), config, "card")
    embed_split(folder / "m", "train", folder / "e.h5")
    return folder, config


def test_a_sentence_is_encoded_as_in_the_file(trained):
    folder, _ = trained
    searcher, stored = Searcher(folder / "m", folder / "e.h5"), Embeddings.load(folder / "e.h5")
    sentences = ["step 0 of v1", "step 1 of v1"]
    _, each = embed_text(searcher.model, searcher.config, sentences)
    each /= np.linalg.norm(each, axis=1, keepdims=True)
    np.testing.assert_allclose(each, stored.sent_emb[1:3], atol=1e-5)
    found = searcher.search(sentences, 3)
    assert len(found.videos) == 3 and [len(clips) for clips in found.clips] == [3, 3]
    best = stored.sent_emb[1] @ stored.clip_emb.T
    key, clip, similarity = found.clips[0][0]
    row = int(stored.starts[stored.find(key)] + clip)
    assert best[row] == pytest.approx(best.max(), abs=1e-6)  # two clips may be as near as each other
    assert similarity == pytest.approx(best.max(), abs=1e-5)
    assert clip < stored.clip_num[stored.find(key)]
    assert len(searcher.search(["cut"], 99).clips[0]) == len(stored.clip_emb)


def test_the_command_prints_videos_and_clips(trained, capsys):
    folder, config = trained
    files = ["--embeddings", str(folder / "e.h5"), "--model", str(folder / "m")]
    assert main(["retrieve", "cut the onion", *files, "--top", "2", "--meta", config.data.meta]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[3]) == ("videos", "clips: cut the onion") and len(lines) == 6
    assert lines[1].split()[0] == "1" and lines[1].split()[2].startswith("v")
    assert " s  step " in lines[4]
    assert main(["retrieve", "cut", *files]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--words", "hashed:7"], "words 'hashed:7': features are 7 wide, but the encoder reads 10"),
        (["--words", "hashed:x"], "expected a width"),
        (["--words", "glove:none.txt"], "none.txt: no such file"),
        (["--top", "0"], "top: found 0"),
        (["--embeddings", "none.h5"], "none.h5: no such file"),
        (["--model", "none"], "none: no config.yaml"),
    ],
)
def test_wrong_input(trained, tmp_path, monkeypatch, capsys, more, said):
    monkeypatch.chdir(tmp_path)
    folder, _ = trained
    assert main(["retrieve", "cut", "--embeddings", str(folder / "e.h5"), "--model", str(folder / "m"), *more]) == 2
    assert said in capsys.readouterr().err


def test_unknown_words_and_empty_sentences(trained, tmp_path):
    folder, config = trained
    save_encoder(tmp_path / "m", build_model(MODEL), replace(config, features=FeatureConfig()), "card")
    with pytest.raises(CootmartError, match=r"features.words of the model is unknown.*--words \(minilm"):
        Searcher(tmp_path / "m", folder / "e.h5").search(["cut"])
    assert Searcher(tmp_path / "m", folder / "e.h5", "hashed:10").search(["cut"]).videos
    with pytest.raises(CootmartError, match="sentence: found ' ', expected words"):
        Searcher(folder / "m", folder / "e.h5").search([" "])


def test_embeddings_of_another_encoder(trained, tmp_path):
    folder, _ = trained
    with h5py.File(folder / "e.h5") as old, h5py.File(tmp_path / "e.h5", "w") as new:
        for name in old:
            new[name] = old[name][:, :8] if name == "clip_emb" else old[name][()]
    with pytest.raises(CootmartError, match="clip_emb is 8 wide, but the encoder writes 16"):
        Searcher(folder / "m", tmp_path / "e.h5").search(["cut"])
