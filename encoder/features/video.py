"""Frames of any video file at a steady rate, decoded by PyAV in constant memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import av
import numpy as np

from encoder.features import sparse
from training.errors import CootmartError

DECODER_THREADS = 1
"""the same frames on every machine, and no contention when several videos are decoded at once"""
INTERPOLATION = "BICUBIC"
SHORT = 0.9
"""a file that holds less than this share of the length in its header is called incomplete"""
LOW_RATE = 0.5
"""share of the file's own frame rate up to which frames that are not asked for are passed over"""
JUMP = (-1.0, 600.0)
"""seconds; a clock that steps farther back or forth was set anew: that is no still picture"""

TRY = "check that it plays in a video player, or write it anew with `ffmpeg -i FILE -c:v libx264 new.mp4`"
TRY_URL = (
    "expected the address of a video file, no page that shows one: open it in a browser, download the video (from "
    "video sites with yt-dlp), and give the file"
)
CLOCK = 1e-6
"""seconds; times nearer than this are the same"""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
TIMEOUT = (10.0, 30.0)
"""seconds to wait for a server to answer, and for more data"""
LISTS = {"concat", "dash", "hls", "image2", "imf"}
"""formats whose files name other files, which a local video has no business to open"""

Size = int | tuple[int, int] | None
Timed = tuple[float, float, av.VideoFrame]
"""start and length in seconds, and the frame"""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of its first real video stream (cover pictures do not count)."""

    path: str | Path
    duration: float
    """seconds, as the header tells (or the container's reader estimates: MPEG program streams); where there is
    nothing to go by, from the time stamps of all packets"""
    fps: float
    width: int
    """pixels as stored, before any rotation"""
    height: int
    n_frames: int | None
    """None where the header does not tell"""
    codec: str


def probe(path: str | Path) -> VideoInfo:
    """Read the header of a video file; nothing is decoded.

    A damaged file may hold less than its header says: `read_frames` gives what is really there.

    Raises:
        CootmartError: the file is missing, empty, no video, without a video stream, or of no length.
    """
    with _open(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        duration = _header_duration(container, stream)
        if duration is None:
            duration = _packet_duration(container, stream, 1 / fps if fps else 0.0)
        if duration <= 0:
            raise CootmartError(f"{path}: the video stream has no length; is the file complete? {TRY}")
        codec = stream.codec_context
        count = stream.frames or None
        return VideoInfo(path, duration, fps, codec.width, codec.height, count, codec.name)


def read_frames(path: str | Path, fps: float, size: Size = None) -> Iterator[tuple[float, np.ndarray]]:
    """Yield (time in seconds, uint8 RGB (H, W, 3)) at the exact times 0, 1/fps, 2/fps, ... of a video.

    Each is the decoded frame nearest to that time (the earlier of two that are equally near), counted from the
    first frame; where frames are sparser than ``fps`` one comes several times. The last time lies before the end of
    the last frame. A file that breaks off in the middle gives what can be decoded, and a warning.

    At a low rate, only the frames that these times need are decoded (`encoder.features.sparse`).

    Args:
        path: a file, or a URL that FFmpeg opens.
        size: None keeps the stored size; a number scales the shorter side to it and keeps the aspect;
            (height, width) scales to exactly that. Scaling is the decoder's own (swscale, bicubic with
            area support when it shrinks). A rotation written in the file is applied first.

    Raises:
        CootmartError: as `probe`; or not a single frame can be decoded; or ``fps`` or ``size`` is not positive.
    """
    if not fps > 0:
        raise CootmartError(f"frame rate: found {fps}, expected frames a second above 0")
    if size is not None and np.min(size) < 1:
        raise CootmartError(f"frame size: found {size}, expected at least 1 pixel")
    plan = None if is_url(path) else _plan(path, fps)
    count = (yield from _read_planned(path, fps, size, plan)) if plan else 0
    if count is not None:
        yield from islice(_read_all(path, fps, size), count, None)


def name_of(video: str | Path) -> str:
    """The file name of a path or URL."""
    return PurePosixPath(unquote(urlsplit(str(video)).path)).name if is_url(video) else Path(video).name


def local(video: str | Path) -> str | Path:
    """The path that a ``file:`` URL names, anything else as it is."""
    if isinstance(video, str) and video.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(video).path))
    return video


def is_url(video: str | Path) -> bool:
    """Whether ``video`` is a URL and no path."""
    return isinstance(video, str) and bool(URL.match(video))


def _plan(path: str | Path, fps: float) -> sparse.Plan | None:
    """What to decode for a rate that needs few of the frames; None where all are to be decoded."""
    with _open(path) as (container, stream):
        native = float(stream.average_rate or stream.guessed_rate or 0)
        if fps > LOW_RATE * native:
            return None
        packets = sparse.scan(_packets(container, stream), 1 / native)
        return sparse.plan(packets, fps, CLOCK / 2) if packets and packets.largest_step < JUMP[1] else None


def _read_planned(
    path: str | Path, fps: float, size: Size, plan: sparse.Plan
) -> Generator[tuple[float, np.ndarray], None, int | None]:
    """Yield the frames of ``plan``; return None, or how many came where the file is not what it promised."""
    count = 0
    with _open(path) as (container, stream):
        try:
            for frame, numbers in sparse.decode(_packets(container, stream), stream, plan):
                picture = _to_rgb(frame, size)
                for k in numbers:
                    count = k + 1
                    yield k / fps, picture
        except sparse.NotAsPlannedError:
            return count
        _warn_if_short(path, plan.end, _header_duration(container, stream))
    return None


def _read_all(path: str | Path, fps: float, size: Size) -> Iterator[tuple[float, np.ndarray]]:
    """`read_frames` by decoding every frame."""
    with _open(path) as (container, stream):
        k, end, previous = 0, 0.0, None
        for timed in _timed(container, stream):
            if previous:  # nearest to it is all up to half-way to the next
                k = yield from _emit(previous, k, fps, (previous[0] + timed[0]) / 2, size)
            previous, end = timed, timed[0] + timed[1]
        if previous is None:
            raise CootmartError(f"{path}: no frame of the video stream can be decoded; {TRY}")
        yield from _emit(previous, k, fps, end - CLOCK, size)
        _warn_if_short(path, end, _header_duration(container, stream))


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    path = local(path)
    is_file = not is_url(path)
    if is_file:
        _check_file(Path(path))
    options = {"format_whitelist": ",".join(sorted(av.formats_available - LISTS))} if is_file else {}
    try:
        container = av.open(str(path), metadata_errors="replace", options=options, timeout=None if is_file else TIMEOUT)
    except (av.error.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CootmartError(f"{path}: not a video that can be read ({reason}); {TRY if is_file else TRY_URL}") from None
    with container:
        yield container, _video_stream(path, container)


def _check_file(path: Path) -> None:
    if not path.exists():
        hint = "" if path.is_absolute() else f" (looked in {Path.cwd()}; a URL starts with https://)"
        raise CootmartError(f"{path}: no such file; check the spelling{hint}")
    if not path.is_file():
        raise CootmartError(f"{path}: a folder, expected a video file")
    if path.stat().st_size == 0:
        raise CootmartError(f"{path}: the file is empty; copy or download it again")


def _video_stream(path: str | Path, container: av.container.InputContainer) -> av.VideoStream:
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams or not streams[0].codec_context:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise CootmartError(f"{path}: no video stream, found only: {kinds}; expected a file with moving pictures")
    stream = streams[0]
    stream.codec_context.thread_count = DECODER_THREADS
    return stream


def _header_duration(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if not container.duration:
        return None
    counts_from_zero = container.format.name.startswith("matroska")  # others count from the first time stamp
    start = container.start_time if counts_from_zero and container.start_time else 0
    return (container.duration - start) / av.time_base


def _packet_duration(container: av.container.InputContainer, stream: av.VideoStream, frame: float) -> float:
    """From the first to the last time stamp, and the length of the last packet; without stamps, of all packets."""
    first, last, count = np.inf, -np.inf, 0
    for packet in _packets(container, stream):
        count += bool(packet.size)
        if packet.pts is not None:
            start = float(packet.pts * packet.time_base)
            first = min(first, start)
            last = max(last, start + (float(packet.duration * packet.time_base) if packet.duration else frame))
    return float(last - first) if last > first else count * frame


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """All packets up to the end or to where the file breaks off."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.error.FFmpegError):
            return


def _timed(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[Timed]:
    """Every decodable frame with its start, counted from the first, and its length, both in seconds."""
    usual = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    last, zero = -usual, None
    for frame in _decodable(container, stream):
        if frame.time is not None and (zero is None or _jumps(frame.time - zero - last)):
            zero = frame.time - last - usual  # the clock begins, or begins anew as in joined recordings
        start = last + usual if frame.time is None or zero is None else frame.time - zero
        last = start if start > last else last + usual / 2  # a stamp given twice: the next one is right again
        yield last, _length(frame) or usual, frame


def _jumps(step: float) -> bool:
    return not JUMP[0] < step < JUMP[1]


def _decodable(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """What decodes; a broken packet costs its own frames only."""
    for packet in _packets(container, stream):
        with suppress(av.error.FFmpegError):
            yield from packet.decode()


def _length(frame: av.VideoFrame) -> float:
    return float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 0.0


def _warn_if_short(path: str | Path, found: float, told: float | None) -> None:
    if told and found < SHORT * told:
        text = f"{path}: only {found:.1f} s can be decoded of the {told:.1f} s that its header tells"
        warnings.warn(f"{text}; the file may be cut off or damaged", stacklevel=3)


def _emit(timed: Timed, k: int, fps: float, until: float, size: Size) -> Generator[tuple[float, np.ndarray], None, int]:
    """Yield this frame for every k / fps <= until; return the next k."""
    picture = None
    while k / fps <= until + CLOCK / 2:
        picture = _to_rgb(timed[2], size) if picture is None else picture
        yield k / fps, picture
        k += 1
    return k


def _to_rgb(frame: av.VideoFrame, size: Size) -> np.ndarray:
    """Scale, convert and turn upright -> uint8 (H, W, 3)."""
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    height, width = _target(frame.height, frame.width, size, sideways=turns % 2 == 1)
    # swscale's own threads cost twenty times the scaling of a small frame, and videos are read by several workers
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation=INTERPOLATION, threads=1)
    return np.ascontiguousarray(np.rot90(scaled.to_ndarray(), turns))


def _target(height: int, width: int, size: Size, sideways: bool) -> tuple[int, int]:
    """Height and width to scale to, before turning."""
    if size is None:
        return height, width
    if isinstance(size, tuple):
        return (size[1], size[0]) if sideways else size
    factor = size / min(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))
