"""How fast each step from a video file to its paragraph is, and what decoding saves at low rates.

python scripts/bench_pipeline.py --model runs/demo/mart --videos runs/demo/data/videos

The last line is everything as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from captioner.caption import caption_together
from cootmart.batch import TOGETHER, caption_videos, find_all
from cootmart.pipeline import Captioner
from encoder.embed import embed_video
from encoder.features.video import read_frames

RATE, SIZE = 25, (360, 640)


@dataclass(frozen=True)
class Kind:
    """How a video is encoded."""

    name: str
    codec: str
    group: int
    """frames from key frame to key frame"""
    options: dict[str, str] = field(default_factory=dict)


X264 = {"preset": "fast", "x264-params": "scenecut=0"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:scenecut=0"}
KINDS = (
    Kind("H.264, key frame every second", "libx264", 25, X264),
    Kind("H.264, every 2 s", "libx264", 50, X264),
    Kind("H.264, every 10 s (x264's default)", "libx264", 250, X264),
    Kind("H.265, every 2 s", "libx265", 50, X265),
    Kind("H.265, every 10 s (x265's default)", "libx265", 250, X265),
    Kind("VP9, every 5 s", "libvpx-vp9", 128, {"deadline": "realtime", "cpu-used": "8"}),
    Kind("AV1, every 5 s", "libsvtav1", 128, {"preset": "12", "svtav1-params": "scd=0"}),
    Kind("MPEG-4, every 0.5 s (FFmpeg's default)", "mpeg4", 12, {"qscale": "5"}),
    Kind("Motion JPEG, all are key frames", "mjpeg", 1),
)
"""a web site's videos have a key frame every 2 to 5 s"""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    kinds: tuple[Kind, ...] = KINDS
    seconds: int = 60
    rates: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
    repeats: int = 3
    videos: int = 50


QUICK = Effort((KINDS[1], KINDS[2], KINDS[7]), 12, (0.2, 1.0), 1, 6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="captioner's model folder; without it decoding alone is measured")
    parser.add_argument("--videos", type=Path, help="folder of videos for it")
    parser.add_argument("--threads", type=int, default=1, help="of each step (default: %(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of the whole (default: 1 2)")
    parser.add_argument("--quick", action="store_true", help="a minute's worth, to see that it works")
    args = parser.parse_args()
    effort = QUICK if args.quick else Effort()
    torch.set_num_threads(args.threads)
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder tells of errors only
    found: dict = {"cores": os.cpu_count(), "threads": args.threads, "quick": args.quick}
    if args.model:
        captioner = Captioner.from_pretrained(args.model, "cpu")
        videos = [*find_all([args.videos])][: effort.videos]
        found["steps"] = steps(captioner, videos, effort.repeats)
        found["videos_per_second"] = whole(captioner, videos, args.workers)
    found["decoding"] = decoding(effort)
    print(json.dumps(found))


def steps(captioner: Captioner, videos: list[Path], repeats: int) -> dict[str, dict[str, float]]:
    """Each step over all videos, in processor time, so that other work on the machine does not count."""
    fps, size = captioner.encoder_config.features.fps, captioner.backbone.size
    model = (captioner.model, captioner.vocabulary, captioner.config)
    spent: dict[str, float] = {}

    def measured(step: str, work: Callable) -> list:
        result, spent[step] = timed(work, repeats)
        return result

    decoded = measured("decode", lambda: [[frame for _, frame in read_frames(v, fps, size)] for v in videos])
    n_frames = sum(map(len, decoded))
    features = measured("frame features", lambda: [captioner.backbone.describe(np.stack(f)) for f in decoded])
    seen = list(zip(videos, features, strict=True))
    segments = measured("segments", lambda: [captioner.segmenter("auto", v, x, len(x) / fps) for v, x in seen])
    jobs = [(x, len(x) / fps, parts, v.name) for (v, x), parts in zip(seen, segments, strict=True)]
    embedded = measured(
        "encoder", lambda: [embed_video(captioner.encoder, captioner.encoder_config, *job) for job in jobs]
    )
    groups = [embedded[i : i + TOGETHER] for i in range(0, len(embedded), TOGETHER)]
    measured("captioner", lambda: [caption_together(*model, group) for group in groups])
    _, alone = timed(lambda: [caption_together(*model, [e]) for e in embedded], repeats)
    total = sum(spent.values())
    print(
        f"{len(videos)} videos, {n_frames} frames at {fps:g} a second, {sum(map(len, segments))} sentences; processor"
    )
    print(f"time of each step; the captioner writes {TOGETHER} videos at a time\n")
    print("| step | frames a second | videos a second | share |\n|---|---|---|---|")
    rows = {name: (n_frames / s, len(videos) / s, s / total) for name, s in spent.items()}
    rows |= {"together": (n_frames / total, len(videos) / total, 1.0)}
    for name, (frames, each, share) in rows.items():
        print(f"| {name} | {frames:.0f} | {each:.1f} | {100 * share:.0f} % |")
    print(f"| (captioner, one video at a time) | {n_frames / alone:.0f} | {len(videos) / alone:.1f} | |")
    names = ("frames_per_second", "videos_per_second", "share")
    return {step: dict(zip(names, (round(x, 3) for x in row), strict=True)) for step, row in rows.items()}


def whole(captioner: Captioner, videos: list[Path], workers: list[int]) -> dict[int, float]:
    """Videos a second by the clock on the wall, by number of workers, everything at once as `cootmart caption` does."""
    rates = {}
    for count in workers:
        started = time.perf_counter()
        outcomes = list(caption_videos(captioner, videos, workers=count))
        rates[count] = round(len(outcomes) / (time.perf_counter() - started), 2)
        print(f"| `cootmart caption --workers {count}`, wall clock | | {rates[count]:.1f} | |", flush=True)
    return rates


def decoding(effort: Effort) -> dict[str, dict]:
    """Times faster than to decode every frame, turn it into RGB, and keep what is asked for, by kind of file."""
    print(f"\n{effort.seconds} s, {SIZE[1]} x {SIZE[0]}, {RATE} frames a second; times faster in processor time\n")
    print("| file | all frames, s | " + " | ".join(f"{rate:g} a second" for rate in effort.rates) + " |")
    print("|---|---|" + "---|" * len(effort.rates))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, kind in enumerate(effort.kinds):
            try:
                path = write(Path(folder) / f"{i}.mkv", kind, effort.seconds)
            except (av.error.FFmpegError, ValueError) as error:
                print(f"| {kind.name} | this FFmpeg cannot write it: {error} |" + " |" * len(effort.rates))
                continue
            _, naive = timed(lambda path=path: read_naively(path, 1.0), effort.repeats)
            faster = {}
            for rate in effort.rates:
                _, spent = timed(lambda path=path, rate=rate: sum(1 for _ in read_frames(path, rate)), effort.repeats)
                faster[rate] = round(naive / spent, 2)
            cells = [f"{naive:.2f}", *(f"{ratio:.1f}" for ratio in faster.values())]
            print(f"| {kind.name} | " + " | ".join(cells) + " |", flush=True)
            found[kind.name] = {"naive_seconds": round(naive, 3), "times_faster": faster}
    return found


def read_naively(path: Path, fps: float) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        kept = []
        for frame in container.decode(video=0):
            picture = frame.reformat(format="rgb24", threads=1).to_ndarray()
            if len(kept) <= frame.time * fps:
                kept.append(picture)
    return kept


def write(path: Path, kind: Kind, seconds: int) -> Path:
    """Blurred noise that drifts, so that frames are predicted from others as in real videos."""
    height, width = SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(noise, 8, 0), 8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=RATE, options={"g": str(kind.group), **kind.options})
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuvj420p" if kind.codec == "mjpeg" else "yuv420p"
        for k in range(seconds * RATE):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, (k, 2 * k), (0, 1)), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def timed(work: Callable, repeats: int) -> tuple:
    """What ``work`` gives, and the least processor time that it took."""
    spent = []
    for _ in range(repeats):
        started = time.process_time()
        result = work()
        spent.append(time.process_time() - started)
    return result, min(spent)


if __name__ == "__main__":
    main()
