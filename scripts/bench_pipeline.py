"""How fast each step from a video file to its paragraph is, and what decoding saves at low rates.

python scripts/bench_pipeline.py --model runs/demo/mart --videos runs/demo/data/videos
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from captioner.caption import caption_together
from cootmart.batch import TOGETHER, caption_videos
from cootmart.pipeline import Captioner
from encoder.embed import embed_video
from encoder.features.video import read_frames

SECONDS, RATE, SIZE = 60, 25, (360, 640)
RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
GROUPS = {"key frame a second": 25, "every 2 s": 50, "every 10 s (x264's default)": 250}
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="captioner's model folder; without it decoding alone is measured")
    parser.add_argument("--videos", type=Path, help="folder of videos for it")
    parser.add_argument("--most", type=int, default=50, help="videos (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.model:
        steps(Captioner.from_pretrained(args.model, "cpu"), sorted(args.videos.iterdir())[: args.most])
    decoding()


def steps(captioner: Captioner, videos: list[Path]) -> None:
    """Each step over all videos, in processor time, so that other work on the machine does not count."""
    fps, size = captioner.encoder_config.features.fps, captioner.backbone.size
    decoded, decode = timed(lambda: [[frame for _, frame in read_frames(v, fps, size)] for v in videos])
    n_frames = sum(map(len, decoded))
    features, describe = timed(lambda: [captioner.backbone.describe(np.stack(frames)) for frames in decoded])
    seen = list(zip(videos, features, strict=True))
    segments, segment = timed(lambda: [captioner.segmenter("auto", v, x, len(x) / fps) for v, x in seen])
    jobs = list(zip(seen, segments, strict=True))
    embedded, embed = timed(
        lambda: [
            embed_video(captioner.encoder, captioner.encoder_config, x, len(x) / fps, parts, v.name)
            for (v, x), parts in jobs
        ]
    )
    model = (captioner.model, captioner.vocabulary, captioner.config)
    _, alone = timed(lambda: [caption_together(*model, [e]) for e in embedded])
    groups = [embedded[i : i + TOGETHER] for i in range(0, len(embedded), TOGETHER)]
    _, write = timed(lambda: [caption_together(*model, group) for group in groups])
    spent = {"decode": decode, "frame features": describe, "segments": segment, "encoder": embed}
    spent[f"captioner, {TOGETHER} videos at a time"] = write
    total = sum(spent.values())
    print(f"{len(videos)} videos, {n_frames} frames at {fps:g} a second, {sum(map(len, segments))} sentences\n")
    print("| step | frames a second | videos a second | share |\n|---|---|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {n_frames / seconds:.0f} | {len(videos) / seconds:.1f} | {100 * seconds / total:.0f} % |")
    print(f"| (captioner, one video at a time) | {n_frames / alone:.0f} | {len(videos) / alone:.1f} | |")
    print(f"| together | {n_frames / total:.0f} | {len(videos) / total:.1f} | 100 % |")
    for workers in (1, 2):
        started = time.perf_counter()
        outcomes = list(caption_videos(captioner, videos, workers=workers))
        rate = len(outcomes) / (time.perf_counter() - started)
        print(f"| `cootmart caption --workers {workers}`, wall clock | | {rate:.1f} | |")


def decoding() -> None:
    """Naive: decode every frame, turn it into RGB, and keep what is asked for."""
    print(f"\n{SECONDS} s of H.264, {SIZE[1]} x {SIZE[0]}, {RATE} frames a second; processor seconds\n")
    print("| frames asked for | " + " | ".join(f"{name}: naive | here | faster" for name in GROUPS) + " |")
    print("|---|" + "---|---|---|" * len(GROUPS))
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(Path(folder) / f"{length}.mp4", length) for length in GROUPS.values()]
        naive = [timed(lambda path=path: read_naively(path, 1.0))[1] for path in paths]
        for rate in RATES:
            here = [timed(lambda path=path, rate=rate: list(read_frames(path, rate)))[1] for path in paths]
            cells = [f"{n:.2f} | {h:.2f} | {n / h:.1f}" for n, h in zip(naive, here, strict=True)]
            print(f"| {rate:g} a second | " + " | ".join(cells) + " |", flush=True)


def read_naively(path: Path, fps: float) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    times = np.array([time for time, _ in frames])
    return [frames[int(np.abs(times - k / fps).argmin())][1] for k in range(int(times[-1] * fps))]


def write(path: Path, group: int) -> Path:
    """Blurred noise that drifts, so that frames are predicted from others as in real videos."""
    height, width = SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(noise, 8, 0), 8, 1)
    with av.open(str(path), "w") as container:
        options = {"g": str(group), "preset": "fast", "x264-params": "scenecut=0"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for k in range(SECONDS * RATE):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, (k, 2 * k), (0, 1)), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def timed(work: Callable) -> tuple:
    """What ``work`` gives, and the least processor time that it took."""
    spent = []
    for _ in range(REPEATS):
        started = time.process_time()
        result = work()
        spent.append(time.process_time() - started)
    return result, min(spent)


if __name__ == "__main__":
    main()
