"""Reading video files: exact times, any container, and every kind of broken file."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from encoder.features.video import probe, read_frames
from training.errors import CootmartError

CONTAINERS = [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4"), ("webm", "libvpx"), ("mpg", "mpeg2video")]


def grey(level: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def write(
    path: Path, levels: list[int], codec: str = "libx264", rate: int = 25, size=(48, 64), pts=None, options=None
) -> Path:
    """A video whose frame k is grey of ``levels[k]``, shown at ``pts[k]`` / 100 s where given."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if pts:
            stream.codec_context.time_base = Fraction(1, 100)
        for k, level in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(grey(level, *size), format="rgb24")
            frame.pts, frame.time_base = (pts[k], Fraction(1, 100)) if pts else (k, Fraction(1, rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(path: Path, fps: float) -> list[int]:
    """The grey levels seen at ``fps``, rounded to tens."""
    return [round(float(frame.mean()) / 10) * 10 for _, frame in read_frames(path, fps)]


RAMP = [40 + 10 * (k % 18) for k in range(50)]


@pytest.mark.parametrize(("container", "codec"), CONTAINERS)
def test_any_container_gives_the_same_frames(tmp_path: Path, container: str, codec: str) -> None:
    path = write(tmp_path / f"a.{container}", RAMP, codec)
    info = probe(path)
    assert (info.width, info.height) == (64, 48)
    assert info.fps == pytest.approx(25, rel=0.01)
    assert info.duration == pytest.approx(2.0, abs=0.5 if container == "mpg" else 0.08)  # mpg has no header
    found = levels(path, 5)
    assert len(found) == 10
    assert np.abs(np.subtract(found, RAMP[::5])).max() <= 10  # lossy codecs


def test_times_are_exact_and_frames_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", RAMP)
    times = [time for time, _ in read_frames(path, 7)]
    assert times == [k / 7 for k in range(14)]
    assert levels(path, 7) == [RAMP[min(round(k / 7 * 25), 49)] for k in range(14)]


def test_the_native_rate_gives_every_frame_once(tmp_path: Path) -> None:
    assert levels(write(tmp_path / "a.mp4", RAMP), 25) == RAMP


def test_a_higher_rate_repeats_frames(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [40, 80, 120, 160], rate=4)
    assert levels(path, 8) == [40, 40, 80, 80, 120, 120, 160, 160]


def test_variable_frame_rate(tmp_path: Path) -> None:
    """Frames at 0, .1, .2, 1.2 and 1.3 s: the gap is filled with the nearest."""
    for container in ("mp4", "mkv"):
        path = write(tmp_path / f"a.{container}", [40, 80, 120, 160, 200], rate=10, pts=[0, 10, 20, 120, 130])
        found = levels(path, 5)
        assert found[:7] == [40, 120, 120, 120, 160, 160, 160]
        assert len(found) in (7, 8)  # whether the last frame lasts is the container's business


def test_a_late_first_time_stamp_counts_as_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", [40, 80, 120, 160], rate=4, pts=[500, 525, 550, 575])
    assert levels(path, 4) == [40, 80, 120, 160]
    assert probe(path).duration == pytest.approx(1.0, abs=0.01)


def test_a_clock_that_starts_anew_in_the_middle_goes_on(tmp_path: Path) -> None:
    """Transport streams may simply be joined byte by byte."""
    recording = write(tmp_path / "one.ts", RAMP, "mpeg2video").read_bytes()
    (tmp_path / "a.ts").write_bytes(recording + recording)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no header tells the length
        times = [time for time, _ in read_frames(tmp_path / "a.ts", 5)]
        found = levels(tmp_path / "a.ts", 5)
    assert times == [k / 5 for k in range(len(found))]
    assert 19 <= len(found) <= 21
    assert np.abs(np.subtract(found[10:15], RAMP[:25:5])).max() <= 20


def test_missing_duration(tmp_path: Path) -> None:
    """A live stream's Matroska has no length in its header; a raw H.264 stream has no header at all."""
    live = write(tmp_path / "a.mkv", RAMP, options={"live": "1"})
    with av.open(str(live)) as container:
        assert container.duration is None
    assert probe(live).duration == pytest.approx(2.0, abs=0.08)
    assert len(levels(live, 5)) == 10
    raw = write(tmp_path / "a.h264", RAMP)
    assert len(levels(raw, 5)) == 10


@pytest.mark.parametrize(
    ("size", "expected"), [(None, (48, 64)), (24, (24, 32)), ((40, 30), (40, 30)), (96, (96, 128)), ((1, 1), (1, 1))]
)
def test_size_is_the_short_side_or_height_and_width(tmp_path: Path, size, expected: tuple[int, int]) -> None:
    path = write(tmp_path / "a.mp4", RAMP[:3])
    frames = [frame for _, frame in read_frames(path, 25, size)]
    assert len(frames) == 3
    assert {(frame.shape, frame.dtype) for frame in frames} == {((*expected, 3), np.dtype(np.uint8))}


def test_colours_keep_their_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        picture = np.full((32, 32, 3), (200, 60, 20), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    ((_, frame),) = read_frames(path, 4)
    assert np.abs(frame.astype(int) - (200, 60, 20)).max() < 12


def test_rotation_is_honoured(tmp_path: Path) -> None:
    """The display matrix of a telephone held upright: white top left goes to top right."""
    path = tmp_path / "a.mp4"
    picture = grey(30, 48, 64)
    picture[:16, :16] = 240
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    turned = rotated_by_90(path)
    for size, shape in ((None, (64, 48, 3)), (24, (32, 24, 3)), ((64, 48), (64, 48, 3))):
        frame = next(frame for _, frame in read_frames(turned, 4, size))
        assert frame.shape == shape
        assert frame[: shape[0] // 8, -shape[1] // 8 :].mean() > 180
        assert frame[: shape[0] // 8, : shape[1] // 8].mean() < 80


def rotated_by_90(path: Path) -> Path:
    """Write the 90 degree matrix into the track header, where the identity is."""
    one, minus, w = (value.to_bytes(4, "big", signed=True) for value in (0x10000, -0x10000, 0x40000000))
    zero = bytes(4)
    identity = one + zero + zero + zero + one + zero + zero + zero + w
    data = path.read_bytes()
    track = data.index(b"tkhd")
    at = data.index(identity, track)
    turned = zero + one + zero + minus + zero + zero + zero + zero + w
    out = path.with_name("turned.mp4")
    out.write_bytes(data[:at] + turned + data[at + len(identity) :])
    return out


def test_reading_twice_gives_the_same_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", RAMP)
    one, two = ([frame for _, frame in read_frames(path, 9, 32)] for _ in range(2))
    assert np.array_equal(one, two)


def test_frames_come_one_at_a_time(tmp_path: Path) -> None:
    """A consumer may stop early, and the file is closed then."""
    frames = read_frames(write(tmp_path / "a.mp4", RAMP), 25)
    assert next(frames)[0] == 0
    frames.close()
    with pytest.raises(StopIteration):
        next(frames)


def test_a_truncated_tail_gives_what_is_there_and_a_warning(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noisy = tmp_path / "a.mp4"
    with av.open(str(noisy), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(60):
            picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    whole = len(list(read_frames(noisy, 10)))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(noisy.read_bytes()[: noisy.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut\.mp4: only \d\.\d s can be decoded of the 6\.0 s"):
        found = len(list(read_frames(cut, 10)))
    assert whole == 60
    assert 10 < found < 50


def text_file(path: Path) -> None:
    path.write_text("This is a shopping list: milk, bread, eggs.\n" * 20, encoding="utf-8")


def audio_file(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def headless_file(path: Path) -> None:
    """Cut before the index that MP4 keeps at its end."""
    write(path, RAMP)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HOSTILE = {
    "no such file": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "the file is empty": lambda path: path.write_bytes(b""),
    "not a video": text_file,
    "no video stream, found only: audio": audio_file,
    "not a video that can be read": headless_file,
    "bytes": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_file_that_is_no_video_is_named_with_what_to_try(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    HOSTILE[reason](path)
    expected = r"clip\.mp4: .+" if reason == "bytes" else rf"clip\.mp4: .*{reason}"
    for read in (probe, lambda file: list(read_frames(file, 4))):
        with pytest.raises(CootmartError, match=expected):
            read(path)


def test_a_header_without_a_single_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", RAMP, options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(CootmartError, match="no frame of the video stream can be decoded"):
        list(read_frames(path, 4))


def test_garbage_in_the_middle_does_not_stop_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", RAMP, options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) // 2
    data[middle : middle + 60] = np.random.default_rng(1).bytes(60)
    path.write_bytes(bytes(data))
    assert len(list(read_frames(path, 25))) > 20


@pytest.mark.parametrize(("fps", "size"), [(0, None), (-1, None), (float("nan"), None), (4, 0), (4, (0, 5))])
def test_rates_and_sizes_that_make_no_sense(tmp_path: Path, fps: float, size) -> None:
    path = write(tmp_path / "a.mp4", RAMP[:3])
    with pytest.raises(CootmartError, match="expected"):
        list(read_frames(path, fps, size))
