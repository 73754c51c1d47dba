import json

import h5py
import numpy as np
import pytest

from encoder.embeddings import OLD_NAMES, TEXT, VIDEO, Embeddings, EmbeddingsWriter
from encoder.retrieval import evaluate
from training.errors import CootmartError

KEYS, CLIPS = ["abc_train", "QOlSCBRmfWY_val_1", "été"], [2, 1, 3]


def raw(seed=0, videos=3, clips=6):
    rng = np.random.default_rng(seed)
    rows = {name: clips if name in ("clip_emb", "sent_emb") else videos for name in VIDEO + TEXT}
    width = {"vid_emb": 8, "par_emb": 8}
    return {name: rng.standard_normal((n, width.get(name, 4)), np.float32) for name, n in rows.items()}


def write(path, arrays, keys=KEYS, clips=CLIPS):
    with EmbeddingsWriter(path) as out:
        out.append(keys[:2], clips[:2], {n: x[: 3 if len(x) == 6 else 2] for n, x in arrays.items()})
        out.append(keys[2:], clips[2:], {n: x[3 if len(x) == 6 else 2 :] for n, x in arrays.items()})
    return path


def test_written_file_has_the_published_schema(tmp_path):
    arrays = raw()
    path = write(tmp_path / "e.h5", arrays)
    with h5py.File(path) as file:
        names = {"key", "clip_num", "sent_num", *arrays, *(f"{name}_before_norm" for name in arrays)}
        assert set(file) == names
        assert [key.decode() for key in file["key"][()]] == KEYS
        assert h5py.check_string_dtype(file["key"].dtype).encoding == "utf-8"
        assert file["clip_num"].dtype == file["sent_num"].dtype == np.int64
        for name, x in arrays.items():
            assert file[name].dtype == np.float32
            np.testing.assert_array_equal(file[f"{name}_before_norm"][()], x)
            np.testing.assert_allclose(file[name][()], x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-6)


def test_read_back(tmp_path):
    arrays = raw()
    e = Embeddings.load(write(tmp_path / "e.h5", arrays))
    assert e.keys == KEYS and e.clip_num.tolist() == CLIPS and len(e) == 3
    np.testing.assert_array_equal(e.clips(2), e.clip_emb[3:6])
    assert e.clips(1).shape == (1, 4)
    assert set(evaluate(e)) >= {"vid2par-r1", "sen2cli-meanr"}


def test_features_of_clips(tmp_path):
    e = Embeddings.load(write(tmp_path / "e.h5", raw()))
    clip, vid = e.features("été", "clip"), e.features("été", "vid")
    assert (clip.shape, vid.shape) == ((3, 4), (3, 8))
    np.testing.assert_array_equal(e.features("été", "vidclip"), np.concatenate([vid, clip], 1))
    context = np.repeat(e.vid_context[2:], 3, 0)
    np.testing.assert_array_equal(e.features("été", "vidclipctx"), np.concatenate([vid, context, clip], 1))
    with pytest.raises(CootmartError, match="expected one of clip"):
        e.features("été", "video")


def test_names_of_activitynet(tmp_path):
    e = Embeddings.load(write(tmp_path / "e.h5", raw()))
    assert e.find("v_QOlSCBRmfWY") == e.find("v_QOlSCBRmfWY", "test") == e.find("QOlSCBRmfWY_val_1") == 1
    assert e.find("v_abc", "train") == 0
    with pytest.raises(CootmartError, match=r"'v_abc' \(nor 'abc_val_1'\)"):
        e.find("v_abc")


def test_video_side_alone(tmp_path):
    arrays = {name: x for name, x in raw().items() if name in VIDEO}
    e = Embeddings.load(write(tmp_path / "e.h5", arrays))
    assert e.par_emb is None and e.sent_emb is None
    with pytest.raises(CootmartError, match="embeddings of the text"):
        evaluate(e)


@pytest.mark.parametrize("index_in_json", [False, True])
def test_old_names(tmp_path, index_in_json):
    arrays, path = raw(), tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        for name, x in arrays.items():
            file[OLD_NAMES[name]] = x
        if not index_in_json:
            file["key"], file["clip_num"] = KEYS, CLIPS
    if index_in_json:
        index = {"vid_ids": KEYS, "clip_nums": CLIPS, "clip_ids": []}
        path.with_suffix(".json").write_text(json.dumps(index), encoding="utf-8")
    e = Embeddings.load(path)
    assert e.keys == KEYS
    np.testing.assert_array_equal(e.sent_emb, arrays["sent_emb"])


def append(path, keys=KEYS, clips=CLIPS, **changes):
    with EmbeddingsWriter(path) as out:
        out.append(keys, clips, {**raw(), **changes})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"keys": ["a", "b", "a"]}, "'a' comes twice"),
        ({"clips": [2, 1, 4]}, r"clip_emb has shape \(6, 4\), expected \(7, size\)"),
        ({"vid_emb": np.full((3, 8), np.nan, np.float32)}, "vid_emb.*NaN"),
        ({"vid_emb": np.zeros((3, 8), np.float32)}, "vid_emb.*zero vector"),
        ({"vid": np.zeros((3, 8), np.float32)}, "expected vid_emb"),
    ],
)
def test_bad_batches_leave_no_file(tmp_path, bad, message):
    with pytest.raises(CootmartError, match=message):
        append(tmp_path / "e.h5", **bad)
    assert not list(tmp_path.iterdir())


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(CootmartError, match="nothing to embed"), EmbeddingsWriter(tmp_path / "e.h5"):
        pass
    assert not list(tmp_path.iterdir())


def edited(path, **changes):
    append(path)
    with h5py.File(path, "a") as file:
        for name, value in changes.items():
            del file[name]
            if value is not None:
                file[name] = value
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vid_emb": None}, "no data set 'vid_emb'"),
        ({"key": None}, "no data set 'key'"),
        ({"clip_num": [2, 1, 9]}, "clip_emb has 6 rows, but key and clip_num ask for 12"),
        ({"clip_num": [2, 1]}, r"clip_num: found shape \(2,\), smallest 0, expected 3 numbers"),
        ({"clip_num": 6}, r"clip_num: found shape \(\)"),
        ({"key": ["a", "a", "b"]}, "'a' occurs twice"),
        ({"vid_context": np.full((3, 4), np.nan)}, "vid_context: row 0 holds NaN"),
        ({"vid_emb": np.zeros(3)}, "vid_emb is float64"),
    ],
)
def test_bad_files(tmp_path, changes, message):
    path = edited(tmp_path / "e.h5", **changes)
    with pytest.raises(CootmartError, match=message) as error:
        Embeddings.load(path)
    assert str(path) in str(error.value)


def test_truncated_text_and_missing_files(tmp_path):
    append(tmp_path / "e.h5")
    whole = (tmp_path / "e.h5").read_bytes()
    for name, content in (("half.h5", whole[: len(whole) // 2]), ("empty.h5", b""), ("text.h5", b"no HDF5 at all")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CootmartError, match=f"{name}: no readable HDF5 file"):
            Embeddings.load(tmp_path / name)
    with pytest.raises(CootmartError, match="no such file"):
        Embeddings.load(tmp_path / "missing.h5")
    with pytest.raises(CootmartError, match="a folder"):
        Embeddings.load(tmp_path)


def test_cut_off_anywhere(tmp_path):
    append(tmp_path / "e.h5")
    whole = (tmp_path / "e.h5").read_bytes()
    for length in np.random.default_rng(0).integers(0, len(whole), 200):
        (tmp_path / "cut.h5").write_bytes(whole[:length])
        with pytest.raises(CootmartError, match=r"cut\.h5"):
            Embeddings.load(tmp_path / "cut.h5")
