"""``cootmart features``: what the encoder reads, from video files and from sentences."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of sentences or of videos."""
    kinds = parser.add_subparsers(dest="kind", metavar="text|video", required=True)
    text = kinds.add_parser("text", help="word features of every sentence of an annotation file")
    text.add_argument("meta", type=Path, help="meta_all.json")
    text.add_argument(
        "--encoder",
        required=True,
        metavar="NAME",
        help="minilm, folder or Hub name of a BERT-type model, glove:FILE, or hashed:DIM",
    )
    text.add_argument("--out", type=Path, required=True, help="HDF5 file; its sentence splits go beside it")
    video = kinds.add_parser("video", help="frame features of every video file of a folder; run again, it goes on")
    video.add_argument("folder", type=Path, help="folder with video files; their names are the keys")
    video.add_argument("--backbone", required=True, metavar="NAME", help="e.g. efficientnet_lite0 or hf:NAME_OR_FOLDER")
    video.add_argument("--fps", type=float, help="features a second (default: as the backbone's recipe says)")
    video.add_argument("--out", type=Path, required=True, help="HDF5 file")
    video.add_argument("--workers", type=int, default=1, help="videos at a time (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Compute them."""
    return _text(args) if args.kind == "text" else _video(args)


def _text(args: argparse.Namespace) -> int:
    from encoder.data.meta import load_meta
    from encoder.features.text import write_word_features
    from encoder.features.words import load_words

    videos = load_meta(args.meta)
    encoder = load_words(args.encoder, [segment.text for video in videos for segment in video.segments])
    count = write_word_features(args.out, videos, encoder)
    print(f"word features of {count} videos: {args.out}")
    print(f"train with:  data.text_features={args.out} model.text_dim={encoder.dim} features.words={args.encoder}")
    return 0


def _video(args: argparse.Namespace) -> int:
    from encoder.features.extract import extract_features, find_videos

    videos, others = find_videos(args.folder)
    if others:
        print(f"{len(others)} files are no videos by their names: {', '.join(p.name for p in others[:5])} ...")
    failures = extract_features(videos, args.backbone, args.fps, args.out, args.workers, resume=True)
    print(f"frame features of {len(videos) - len(failures)} of {len(videos)} videos: {args.out}")
    print(_training_options(args))
    for key, problem in failures.items():
        print(f"cootmart: error: {key}: {problem}", file=sys.stderr)
    return 1 if failures else 0


def _training_options(args: argparse.Namespace) -> str:
    from encoder.data.hdf5 import open_hdf5

    with open_hdf5(args.out) as file:
        width, fps = next(iter(file.values())).shape[1], file.attrs["fps"]
    return (
        f"train with:  data.video_features={args.out} model.video_dim={width} features.backbone={args.backbone} "
        f"features.fps={fps:g}"
    )
