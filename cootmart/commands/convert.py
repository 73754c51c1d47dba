"""``cootmart convert``: annotations of other forms to ``meta_all.json``."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMS = ("youcook2", "activitynet", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which form, which files, where to."""
    parser.add_argument("form", choices=FORMS, help="of the files")
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="youcookii_annotations_trainval.json; train.json val_1.json ...; or tables with the columns "
        "video, split, duration_sec, start_sec, stop_sec, text",
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write, e.g. data/mine/meta_all.json")


def run(args: argparse.Namespace) -> int:
    """Read all files, write one."""
    from encoder.data import convert
    from encoder.data.meta import save_meta

    readers = {"youcook2": convert.from_youcook2, "activitynet": convert.from_activitynet, "csv": convert.from_csv}
    videos = [video for path in args.files for video in readers[args.form](path)]
    save_meta(args.out, videos)
    for split in sorted({video.split for video in videos}):
        clips = [len(video.segments) for video in videos if video.split == split]
        print(f"  {split:10} {len(clips):6} videos  {sum(clips):6} clips")
    print(f"annotations: {args.out}")
    return 0
