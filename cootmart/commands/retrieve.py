"""``cootmart retrieve``: the videos and clips of an embeddings file that a sentence describes."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look for, and where."""
    parser.add_argument("sentence", nargs="+", help="a sentence; several are one paragraph")
    parser.add_argument("--embeddings", type=Path, required=True, help="HDF5 file that `cootmart embed` wrote")
    parser.add_argument("--model", type=Path, required=True, help="model folder of the encoder that wrote it")
    parser.add_argument("--words", help="how its word features were made (default: features.words of the model)")
    parser.add_argument("--meta", type=Path, help="meta_all.json, to show times and sentences of clips")
    parser.add_argument("--top", type=int, default=5, help="how many of each (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the nearest videos and, sentence by sentence, the nearest clips."""
    from encoder.search import Searcher

    searcher = Searcher(args.model, args.embeddings, args.words)
    described = _descriptions(args.meta) if args.meta else {}
    found = searcher.search(args.sentence, args.top)
    print("videos")
    for rank, (key, similarity) in enumerate(found.videos, 1):
        print(f"  {rank:2}  {similarity:6.3f}  {key}")
    for sentence, clips in zip(args.sentence, found.clips, strict=True):
        print(f"clips: {sentence}")
        for rank, (key, clip, similarity) in enumerate(clips, 1):
            print(f"  {rank:2}  {similarity:6.3f}  {key}  clip {clip + 1}{described.get((key, clip), '')}")
    return 0


def _descriptions(meta: Path) -> dict[tuple[str, int], str]:
    from encoder.data.meta import load_meta

    return {
        (video.key, i): f"  {segment.start_sec:g}-{segment.stop_sec:g} s  {segment.text}"
        for video in load_meta(meta)
        for i, segment in enumerate(video.segments)
    }
