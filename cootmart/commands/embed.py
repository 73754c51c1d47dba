"""``cootmart embed``: clip, video, sentence and paragraph embeddings of a split, in one HDF5 file."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which encoder, which split, which file."""
    parser.add_argument("model", type=Path, help="model folder that `cootmart train encoder` left")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change options, e.g. data.meta=my/meta_all.json"
    )
    parser.add_argument("--split", default="val", help="split of meta_all.json (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="HDF5 file (default: MODEL/embeddings_SPLIT.h5)")


def run(args: argparse.Namespace) -> int:
    """Embed one split and print its retrieval scores."""
    from encoder.embed import embed_split

    out = args.out or args.model / f"embeddings_{args.split}.h5"
    scores = embed_split(args.model, args.split, out, args.overrides)
    print("\n".join(f"  {name:28} {value:.4g}" for name, value in scores.items()))
    print(f"embeddings: {out}")
    return 0
