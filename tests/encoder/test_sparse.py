"""Decoding only what a low rate needs gives the very pictures that decoding everything gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoder.features import sparse, video
from encoder.features.video import read_frames
from training.errors import CootmartError

CASES = {
    "x264.mp4": ("libx264", {"g": "25"}),
    "open groups.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3:b-pyramid=normal"}),
    "one group.mp4": ("libx264", {"g": "500"}),
    "x265.mkv": ("libx265", {"x265-params": "keyint=25:log-level=error"}),
    "vp8.webm": ("libvpx", {"g": "25", "auto-alt-ref": "1", "lag-in-frames": "8"}),
    "vp9.webm": ("libvpx-vp9", {"g": "25", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg2.ts": ("mpeg2video", {"bf": "2", "g": "12"}),
    "mpeg4.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "mjpeg.mov": ("mjpeg", {}),
}


def write(path: Path, codec: str, options: dict, count: int = 110, stamps: list[int] | None = None) -> Path:
    """Drifting blocks; ``stamps`` in 1/100 s."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(noise, 8, 0), 8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 80, 112, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if stamps:
            stream.codec_context.time_base = Fraction(1, 100)
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, (k, 3 * k), (0, 1)), format="rgb24")
            frame.pts, frame.time_base = (stamps[k], Fraction(1, 100)) if stamps else (k, Fraction(1, 25))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def require_same(path: Path, fps: float) -> None:
    expected, found = list(video._read_all(path, fps, None)), list(read_frames(path, fps))
    assert [time for time, _ in found] == [time for time, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.fixture
def complete(monkeypatch) -> list[Path]:
    """Paths that were decoded completely."""
    paths: list[Path] = []
    read_all = video._read_all
    monkeypatch.setattr(video, "_read_all", lambda path, *a: paths.append(path) or read_all(path, *a))
    return paths


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fps", [0.3, 1, 3, 7.3])
def test_the_same_pictures(tmp_path, complete, name, fps):
    path = write(tmp_path / name, *CASES[name])
    list(read_frames(path, fps))
    assert complete == []
    require_same(path, fps)


def test_variable_rate(tmp_path, complete):
    rng = np.random.default_rng(1)
    stamps = np.cumsum(rng.integers(1, 9, 110)).tolist()
    for name in ("a.mp4", "a.mkv"):
        path = write(tmp_path / name, "libx264", {"g": "15"}, stamps=stamps)
        list(read_frames(path, 1.7))
        assert complete == []
        for fps in (0.4, 1.7, 5.0):
            require_same(path, fps)
        complete.clear()


def packets_of(path: Path) -> sparse.Packets:
    with video._open(path) as (container, stream):
        return sparse.scan(container.demux(stream), 0.04)


def test_few_packets_are_decoded(tmp_path):
    packets = packets_of(write(tmp_path / "a.mp4", "libx264", {"g": "10", "bf": "0"}))
    plan = sparse.plan(packets, 0.5, 1e-6)
    assert list(plan.wanted.values()) == [[0], [1], [2]]
    # frames 0, 50 and 100 are key frames
    assert np.flatnonzero(plan.decode).tolist() == [0, 50, 100]
    plan = sparse.plan(packets, 25 / 55, 1e-6)
    assert np.flatnonzero(plan.decode).tolist() == [0, *range(50, 56)]


def test_refreshing_bit_by_bit_is_decoded_completely(tmp_path, complete):
    """Such a stream starts anew at frames that are predicted from others."""
    options = {"x264-params": "intra-refresh=1:keyint=12"}
    path = write(tmp_path / "a.mkv", "libx264", options)
    require_same(path, 1.0)
    assert path in complete


def test_a_damaged_packet_is_found_out(tmp_path):
    path = write(tmp_path / "a.mp4", "libx264", {"g": "10", "movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    for share in (0.3, 0.6):
        at = start + int((len(data) - start) * share)
        data[at : at + 80] = np.random.default_rng(0).bytes(80)
    path.write_bytes(bytes(data))
    times = [time for time, _ in read_frames(path, 2.0)]
    assert times == [k / 2 for k in range(len(times))]
    assert len(times) >= 7


def test_a_high_rate_and_missing_stamps_are_decoded_completely(tmp_path, complete):
    path = write(tmp_path / "a.mp4", "libx264", {})
    list(read_frames(path, 20))
    raw = write(tmp_path / "a.h264", "libx264", {})
    program = write(tmp_path / "a.mpg", "mpeg2video", {"bf": "2", "g": "12"})
    for without in (raw, program):
        list(read_frames(without, 1))
        require_same(without, 1)
    assert set(complete) == {path, raw, program}


def test_a_consumer_may_stop_early_and_a_file_may_be_missing(tmp_path):
    frames = read_frames(write(tmp_path / "a.mp4", "libx264", {}), 1)
    assert next(frames)[0] == 0
    frames.close()
    with pytest.raises(CootmartError, match="no such file"):
        list(read_frames(tmp_path / "none.mp4", 1))
