"""`cootmart features video`: a folder of videos, some of them broken, stopped in the middle and run again."""

from __future__ import annotations

import av
import h5py
import numpy as np
import pytest

from cootmart.cli import main
from encoder.features import extract
from encoder.features.extract import extract_features, find_videos
from encoder.features.store import open_features
from training.errors import CootmartError


def write_video(path, count=8, level=40):
    """``count`` grey frames, four a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 96
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((96, 96, 3), level + i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def folder(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for i, name in enumerate(("a.mp4", "b c.mkv", "d.avi")):
        write_video(videos / name, 8 + 4 * i, 40 * i)
    return videos


def command(folder, *more):
    out = folder.parent / "frames.h5"
    return ["features", "video", str(folder), "--backbone", "demo_descriptor", "--out", str(out), *more], out


def keys(path):
    with h5py.File(path) as file:
        return {key: len(file[key]) for key in file}


def test_a_folder_of_videos(folder, capsys):
    arguments, out = command(folder, "--fps", "2")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    assert main(arguments) == 0
    assert keys(out) == {"a": 4, "b c": 6, "d": 8}
    shown = capsys.readouterr().out
    assert "1 files are no videos by their names: notes.txt" in shown and "frame features of 3 of 3 videos" in shown
    assert f"data.video_features={out} model.video_dim=496 features.backbone=demo_descriptor features.fps=2" in shown
    assert {path.name for path in folder.parent.iterdir()} == {"videos", "frames.h5"}


def test_broken_videos_are_listed_and_the_others_kept(folder, capsys):
    arguments, out = command(folder)
    (folder / "broken.mp4").write_bytes(b"no video")
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert "frame features of 3 of 4 videos" in shown.out
    assert [line for line in shown.err.splitlines() if line.startswith("cootmart: error: broken: ")]
    assert set(keys(out)) == {"a", "b c", "d"}
    write_video(folder / "broken.mp4")
    assert main(arguments) == 0
    assert set(keys(out)) == {"a", "b c", "broken", "d"}


def test_a_stopped_run_goes_on(folder, monkeypatch):
    arguments, out = command(folder)
    described, really = [], extract.video_features

    def once(path, *rest):
        if len(described) == 2:
            raise KeyboardInterrupt
        described.append(path.name)
        return really(path, *rest)

    monkeypatch.setattr(extract, "video_features", once)
    assert main(arguments) == 130
    assert described == ["a.mp4", "b c.mkv"] and not out.exists()
    described.clear()
    assert main(arguments) == 0
    assert described == ["d.avi"]
    np.testing.assert_array_equal(open_features(out).read("a"), really(folder / "a.mp4", *backbone()))
    assert main(arguments) == 0
    assert described == ["d.avi"], "everything was there"


def backbone():
    return extract.load_backbone("demo_descriptor"), 1.0


def test_another_recipe_is_not_mixed_in(folder):
    arguments, out = command(folder, "--fps", "2")
    assert main(arguments) == 0
    before = out.read_bytes()
    with pytest.raises(
        CootmartError, match=r"frames.h5: its features were made with fps 2.0, now it is 3.0; delete it"
    ):
        extract_features(find_videos(folder)[0], "demo_descriptor", 3.0, out, resume=True)
    assert out.read_bytes() == before
    extract_features(find_videos(folder)[0], "demo_descriptor", 4.0, out)  # without resume all is made anew
    assert keys(out) == {"a": 8, "b c": 12, "d": 16}


def test_several_at_a_time(folder):
    arguments, out = command(folder)
    assert main([*arguments, "--workers", "2"]) == 0
    assert set(keys(out)) == {"a", "b c", "d"}


def test_folders_without_use(tmp_path, folder, capsys):
    for path, said in ((tmp_path / "none", "no such folder"), (tmp_path, "no video file in this folder")):
        assert main(command(path)[0]) == 2
        assert said in capsys.readouterr().err
    write_video(folder / "a.mkv")
    assert main(command(folder)[0]) == 2
    assert "a.mp4: a.mkv has the same name" in capsys.readouterr().err
    for path in folder.iterdir():
        path.write_bytes(b"")
    (folder / "a.mkv").unlink()
    assert main(command(folder)[0]) == 2
    assert "none of 3 videos could be read" in capsys.readouterr().err
    (folder / "a.mp4").unlink()
    assert main([*command(folder)[0], "--fps", "0"]) == 2
