"""Captions by a Ray cluster of one machine: the same as without."""

from __future__ import annotations

import importlib.util

import pytest

from cootmart import Captioner
from cootmart.batch import caption_videos
from cootmart.batch_ray import caption_on_cluster
from cootmart.cli import main
from tests.tiny_pipeline import make_model, make_video
from training.errors import CootmartError

HAS_RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_it_is_said_how_to_get_it(tmp_path):
    with pytest.raises(CootmartError, match=r"cootmart\[ray\]"):
        list(caption_on_cluster(tmp_path, [tmp_path / "a.mp4"]))


@pytest.mark.slow
@pytest.mark.skipif(not HAS_RAY, reason="Ray is an extra")
def test_a_cluster_of_one_machine(tmp_path, capsys):
    model = make_model(tmp_path)
    videos = [make_video(tmp_path / f"v{i}.mp4", seed=i) for i in range(3)]
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "link.mp4").symlink_to(videos[0])
    videos += [tmp_path / "broken.mp4", tmp_path / "link.mp4"]
    expected = list(caption_videos(Captioner.from_pretrained(model), videos, count=2))
    found = {outcome.video: outcome for outcome in caption_on_cluster(model, videos, workers=2, count=2)}
    assert [found[video] for video in videos] == expected
    words = [
        "caption",
        *map(str, videos),
        "--model",
        str(model),
        "--ray",
        "--format",
        "srt",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(words) == 2
    assert {path.name for path in (tmp_path / "o").glob("*.srt")} == {"v0.srt", "v1.srt", "v2.srt", "link.srt"}
    assert "1 of 5 videos have no captions" in capsys.readouterr().err
