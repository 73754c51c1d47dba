"""``cootmart retrieve``: the videos and clips that a sentence describes, and a page of what finds what."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

DEFAULTS = {"top": 5, "examples": 3, "seed": 0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to look for, and where; or the page to write."""
    parser.add_argument("sentence", nargs="*", help="a sentence; several are one paragraph")
    parser.add_argument("--embeddings", type=Path, required=True, help="HDF5 file that `cootmart embed` wrote")
    parser.add_argument("--model", type=Path, help="model folder of the encoder that wrote it, for a sentence")
    parser.add_argument("--words", help="how its word features were made (default: features.words of the model)")
    parser.add_argument("--meta", type=Path, help="meta_all.json, to show times and sentences of clips")
    parser.add_argument("--top", type=int, help="how many of each (default: %(default)s)")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="HTML",
        help="write a page instead: scores, examples of queries with what they find, and a map of the embeddings",
    )
    parser.add_argument("--examples", type=int, help="queries on the page, of each outcome (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of their choice and of the map (default: %(default)s)")
    parser.set_defaults(**DEFAULTS)


def run(args: argparse.Namespace) -> int:
    """Search with the sentence, or write the page."""
    from training.errors import CootmartError

    if bool(args.sentence) == bool(args.report):
        found = "both" if args.report else "neither"
        raise CootmartError(f"retrieve: expected a sentence to search with, or --report to write a page; found {found}")
    if args.report:
        return _write_page(args)
    if args.model is None:
        raise CootmartError("retrieve: no --model; a sentence needs the encoder that wrote the embeddings")
    return _search(args)


def _search(args: argparse.Namespace) -> int:
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


def _write_page(args: argparse.Namespace) -> int:
    from cootmart.retrieval.page import PageConfig, write_retrieval_page

    config = PageConfig(args.top, args.examples, args.seed)
    print(f"report: {write_retrieval_page(args.report, args.embeddings, args.meta, config, _command(args))}")
    return 0


def _command(args: argparse.Namespace) -> str:
    names = ("embeddings", "meta", "report", *DEFAULTS)
    given = [(name, getattr(args, name)) for name in names if getattr(args, name) != DEFAULTS.get(name)]
    return shlex.join(["cootmart", "retrieve", *[word for name, value in given for word in (f"--{name}", str(value))]])
