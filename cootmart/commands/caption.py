"""``cootmart caption``: the paragraph of any video file, or of every video in an embeddings file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

FORMATS = ("txt", "json", "srt", "vtt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to caption, with which model, split how, written where."""
    parser.add_argument(
        "videos", nargs="*", type=Path, metavar="VIDEO", help="video files, any format that FFmpeg reads"
    )
    parser.add_argument("--embeddings", type=Path, help="caption every video of this embeddings file instead")
    parser.add_argument("--model", type=Path, required=True, help="captioner's model folder, e.g. runs/demo/captioner")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--segments", type=Path, help="JSON [[start, end], ...] or CSV start,end in seconds")
    split.add_argument("--count", type=int, help="split evenly into this many segments")
    split.add_argument("--seconds", type=float, help="split evenly into segments of about this length")
    parser.add_argument("--format", choices=FORMATS, default="txt", help="of the output (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file, or folder for several videos (default: print)")


def run(args: argparse.Namespace) -> int:
    """Caption; a video that cannot be read does not stop the others, but makes the exit code 2."""
    from training.errors import CootmartError

    if bool(args.videos) == bool(args.embeddings):
        raise CootmartError("caption: expected video files or --embeddings FILE, one of the two")
    return _caption_embeddings(args) if args.embeddings else _caption_videos(args)


def _caption_embeddings(args: argparse.Namespace) -> int:
    from captioner.caption import caption_file
    from captioner.submission import write_submission

    out = args.out or args.embeddings.with_suffix(".captions.json")
    write_submission(out, caption_file(args.model, args.embeddings))
    print(f"captions: {out}")
    return 0


def _caption_videos(args: argparse.Namespace) -> int:
    from captioner.paragraph import WRITERS
    from cootmart.pipeline import Captioner
    from training.errors import CootmartError

    captioner = Captioner.from_pretrained(args.model)
    failures = 0
    for video in args.videos:
        try:
            paragraph = captioner(video, segments=args.segments, count=args.count, seconds=args.seconds)
        except CootmartError as error:
            failures += 1
            print(f"cootmart: error: {error}", file=sys.stderr)
            continue
        _write(WRITERS[args.format](paragraph), video, args)
    return 2 if failures else 0


def _write(text: str, video: Path, args: argparse.Namespace) -> None:
    from training.files import atomic_path

    if args.out is None:
        print(text, end="")
        return
    several = len(args.videos) > 1 or args.out.is_dir()
    path = args.out / f"{video.stem}.{args.format}" if several else args.out
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")
    print(path)
