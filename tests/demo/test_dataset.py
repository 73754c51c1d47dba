"""The demo data set on disk: whole, in the official formats, the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cootmart.demo import dataset
from cootmart.demo.dataset import make_dataset
from cootmart.demo.probes import load_probes
from encoder.features.video import probe
from training.errors import CootmartError

COUNTS = {"n_train": 9, "n_val": 2, "n_test": 3}


def made(folder: Path, seed: int = 0, workers: int = 1) -> Path:
    return make_dataset(folder, **COUNTS, seed=seed, workers=workers, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("demo") / "data")


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_same_seed_same_bytes_with_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    assert contents(made(tmp_path / "other", workers=2)) == contents(folder)


def test_another_seed_gives_other_videos_and_sentences(folder: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other", seed=1)
    for name in ("videos/train_0000.mp4", "meta_all.json"):
        assert (other / name).read_bytes() != (folder / name).read_bytes()


def test_a_video_does_not_depend_on_how_many_there_are(folder: Path, tmp_path: Path) -> None:
    fewer = make_dataset(tmp_path / "few", 1, 1, 1, workers=1, progress=False)
    assert (fewer / "videos/test_0000.mp4").read_bytes() == (folder / "videos/test_0000.mp4").read_bytes()


def test_annotations_fit_the_files(folder: Path) -> None:
    meta = read(folder / "meta_all.json")
    assert list(meta) == sorted(meta)
    assert {key: entry["split"] for key, entry in meta.items()} == {key: key.split("_")[0] for key in meta}
    for key, entry in meta.items():
        info = probe(folder / "videos" / f"{key}.mp4")
        assert (info.width, info.height, info.fps) == (96, 96, 4.0)
        assert info.duration == pytest.approx(entry["duration_sec"])
        assert entry["data_key"] == key
        for segment in entry["segments"]:
            assert 0 <= segment["start_sec"] < segment["stop_sec"] <= entry["duration_sec"]
            assert 2 <= segment["stop_sec"] - segment["start_sec"] <= 3


def test_references_are_three_tellings_of_the_same_videos(folder: Path) -> None:
    meta = read(folder / "meta_all.json")
    for split, count in (("val", 2), ("test", 3)):
        lists = [read(folder / f"sentences_{split}_{number}.json") for number in (1, 2, 3)]
        paragraphs = [read(folder / f"captions_{split}_{number}.json") for number in (1, 2, 3)]
        assert len(lists[0]) == count
        for key in lists[0]:
            assert [segment["text"] for segment in meta[key]["segments"]] == lists[0][key]
            assert [" ".join(told[key]) for told in lists] == [told[key] for told in paragraphs]
            assert len({told[key] for told in paragraphs}) == 3


def test_probes_cover_the_held_out_videos(folder: Path) -> None:
    meta, probes = read(folder / "meta_all.json"), load_probes(folder)
    assert set(probes) == {key for key in meta if meta[key]["split"] != "train"}
    assert all(len(probes[key]["again"]) == len(meta[key]["segments"]) for key in probes)


def test_a_complete_folder_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "write_video", None)
    assert made(folder) == folder


def test_a_folder_with_a_missing_video_or_another_seed_is_made_anew(tmp_path: Path) -> None:
    first = contents(made(tmp_path / "data"))
    (tmp_path / "data/videos/train_0003.mp4").unlink()
    assert contents(made(tmp_path / "data")) == first
    assert contents(made(tmp_path / "data", seed=5)) != first
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    before = contents(made(tmp_path / "data"))
    monkeypatch.setattr(dataset, "write_video", broken)
    with pytest.raises(OSError, match="disk full"):
        made(tmp_path / "data", seed=1)
    assert contents(tmp_path / "data") == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(CootmartError, match=r"no stamp\.json.*empty folder"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
