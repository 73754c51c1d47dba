import h5py
import numpy as np
import pytest

from encoder.features.store import open_features, write_features
from tests.encoder.tiny import frames
from training.errors import CootmartError


def write(path, **arrays):
    write_features(path, arrays.items())
    return path


def test_written_and_read(tmp_path):
    arrays = {"a": frames(5), "b": frames(1).astype(np.float16)}
    store = open_features(write(tmp_path / "f.h5", **arrays), dim=6)
    store.require(["a", "b"])
    for key, x in arrays.items():
        assert store.read(key).dtype == x.dtype
        np.testing.assert_array_equal(store.read(key), x)
    assert store.keys() == ["a", "b"]


def test_memory_is_used_up_to_its_limit(tmp_path):
    store = open_features(write(tmp_path / "f.h5", a=frames(5), b=frames(5)), memory=frames(5).nbytes + 1)
    assert store.read("a") is store.read("a")
    assert store.read("b") is not store.read("b")


def test_npz_folder_of_activitynet(tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(2, 1, 6, 1, 1)
    np.savez(tmp_path / "v_abc.npz", frame_scores=x)
    store = open_features(tmp_path, dim=6)
    np.testing.assert_array_equal(store.read("abc"), x.reshape(2, 6))
    assert "abc" in store and "xyz" not in store


def test_one_frame_of_an_npz_folder_stays_a_row(tmp_path):
    np.savez(tmp_path / "v_abc.npz", frame_scores=np.ones((1, 1, 6, 1, 1), np.float32))
    assert open_features(tmp_path).read("abc").shape == (1, 6)


def test_no_frames_in_an_npz_file(tmp_path):
    np.savez(tmp_path / "v_abc.npz", frame_scores=np.ones((0, 1, 6, 1, 1), np.float32))
    with pytest.raises(CootmartError, match=r"abc: found float32 .*not empty"):
        open_features(tmp_path).read("abc")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_npz(tmp_path, save):
    path, rng = tmp_path / "v_abc.npz", np.random.default_rng(0)
    save(path, frame_scores=rng.standard_normal((20, 1, 6, 1, 1), np.float32))
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(len(damaged), size=3):
            damaged[at] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        try:
            open_features(tmp_path).read("abc")
        except CootmartError as error:
            refused += str(tmp_path) in str(error)
    assert refused > 200


@pytest.mark.parametrize("content", [b"", b"no zip", "truncated", "pickled", "renamed"])
def test_bad_npz(tmp_path, content):
    path = tmp_path / "v_abc.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "truncated":
        np.savez(path, frame_scores=np.ones((4, 1, 6, 1, 1)))
        path.write_bytes(path.read_bytes()[:200])
    elif content == "pickled":
        np.savez(path, frame_scores=np.array([{}], object))
    else:
        np.savez(path, scores=np.ones((4, 6)))
    with pytest.raises(CootmartError, match=r"v_abc\.npz: no readable array frame_scores"):
        open_features(tmp_path).read("abc")


def test_split_2d_and_3d_files(tmp_path):
    two, three = (
        write(tmp_path / "2d.h5", a=frames(4), b=frames(4)),
        write(tmp_path / "3d.h5", a=frames(4), b=frames(3)),
    )
    store = open_features(f"{two}+{three}", dim=12)
    np.testing.assert_array_equal(store.read("a"), np.concatenate([frames(4), frames(4)], 1))
    with pytest.raises(CootmartError, match="b: the files hold 4 and 3 frames"):
        store.read("b")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((3, 6), np.nan, np.float32), "row 0 holds NaN"),
        (np.where(np.arange(18).reshape(3, 6) == 13, np.inf, 0), "row 2 holds NaN or infinity"),
        (np.zeros((3, 7), np.float32), "width 7, expected 6"),
        (np.zeros(6, np.float32), r"found float32 \(6,\)"),
        (np.zeros((0, 6), np.float32), "not empty"),
        (np.array([["a"] * 6], "S1"), "expected numbers"),
    ],
)
def test_bad_arrays_name_file_and_video(tmp_path, x, message):
    path = write(tmp_path / "f.h5", fine=frames(3))
    with h5py.File(path, "a") as file:
        file["bad"] = x
    store = open_features(path, dim=6)
    store.read("fine")
    with pytest.raises(CootmartError, match=message) as error:
        store.read("bad")
    assert str(error.value).startswith(f"{path}: bad: ")
    if x.dtype.kind == "f":
        with pytest.raises(CootmartError, match=message):
            write(tmp_path / "new.h5", fine=frames(3), bad=x)
        assert not (tmp_path / "new.h5").exists()


def test_missing_videos_are_counted(tmp_path):
    store = open_features(write(tmp_path / "f.h5", a=frames(3)))
    with pytest.raises(CootmartError, match=r"no features of 'b' \(2 of 3 are missing"):
        store.require(["a", "b", "c"])
    with pytest.raises(CootmartError, match="no data set 'b'; found a"):
        store.read("b")


def test_the_same_video_twice_is_not_written(tmp_path):
    with pytest.raises(CootmartError, match="'a' come twice"):
        write_features(tmp_path / "f.h5", [("a", frames(2)), ("a", frames(2))])
    assert not list(tmp_path.iterdir())


def test_truncated_hdf5(tmp_path):
    path = write(tmp_path / "f.h5", a=frames(3000), b=frames(3000))
    whole = path.read_bytes()
    for length in [0, len(whole) - 1, *np.random.default_rng(0).integers(1, len(whole), 200)]:
        path.write_bytes(whole[:length])
        with pytest.raises(CootmartError, match=r"f\.h5"):
            open_features(path).read("b")


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(CootmartError, match="no file v_<video>"):
        open_features(tmp_path)
    with pytest.raises(CootmartError, match="no such file"):
        open_features(tmp_path / "none")
