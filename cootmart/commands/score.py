"""``cootmart score``: predicted paragraphs against references, or the retrieval scores of an embeddings file."""

from __future__ import annotations

import argparse
from pathlib import Path

from evaluation import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of captions, and the embeddings file."""
    command.add_arguments(parser)
    parser.add_argument(
        "--embeddings", type=Path, metavar="F", help="retrieval scores of this embeddings file instead of captions"
    )


def run(args: argparse.Namespace) -> int:
    """Score captions or embeddings; see `evaluation.command.run` for the exit code."""
    if args.embeddings is None:
        return command.run(args)
    from rich.console import Console

    from encoder.embeddings import Embeddings
    from evaluation.errors import EvaluationError

    if args.predictions or args.references:
        raise EvaluationError("score: expected predictions with --references, or --embeddings alone, not both")
    from cootmart.benchmark.retrieval import retrieval_card

    card = retrieval_card(Embeddings.load(args.embeddings), args.split or "")
    if args.json:
        card.save(args.json)
    Console().print(card.table())
    return 0
