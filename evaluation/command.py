"""``cootmart score``: a table of scores for the terminal, and a card as JSON.

Exit code 0: every metric is there. 1: a metric could not run. 2 (from an EvaluationError): wrong input.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the job; nothing heavy is imported."""
    parser.add_argument(
        "predictions", type=Path, nargs="?", help="submission, {video: [sentence, ...]} or {video: paragraph}"
    )
    parser.add_argument(
        "--references",
        nargs="+",
        metavar="F",
        help="one or more reference files, or youcook2-val, ae-val, ae-test together with --annotations",
    )
    parser.add_argument("--annotations", type=Path, metavar="DIR", help="folder of the files of named references")
    parser.add_argument("--split", help="split to take from a meta_all.json; otherwise a name for the card")
    parser.add_argument(
        "--metrics", nargs="+", metavar="M", help="default: all; Bleu METEOR ROUGE_L CIDEr repetition statistics"
    )
    parser.add_argument(
        "--ids", choices=("robust", "official"), default="robust", help="how v_ before video names is matched"
    )
    parser.add_argument("--level", choices=("paragraph", "sentence"), default="paragraph")
    parser.add_argument(
        "--training", type=Path, metavar="F", help="captions seen in training, for the share of novel sentences"
    )
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="give METEOR up after S silent seconds"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the card here")


def run(args: argparse.Namespace) -> int:
    """Score one file. Returns 0, or 1 if a metric could not run.

    Raises:
        EvaluationError: a file or an argument is not as expected.
    """
    from rich.console import Console

    from evaluation.errors import EvaluationError
    from evaluation.predictions import Predictions
    from evaluation.scorer import METRICS, Scorer

    if not args.predictions or not args.references:
        raise EvaluationError(
            "score: expected predictions and --references, for example: cootmart score predictions.json "
            "--references captioning_val_para.json"
        )
    references = _references(args)
    options = {"ids": args.ids, "level": args.level, "split": args.split or "", "timeout": args.timeout}
    with Scorer(references, args.metrics or METRICS, training=_training(args), **options) as scorer:
        card = scorer.score(Predictions.load(args.predictions))
    if args.json:
        card.save(args.json)
    Console().print(card.table())
    return 0 if card.complete else 1


def _references(args: argparse.Namespace) -> list:
    from evaluation.errors import EvaluationError
    from evaluation.references import NAMED_SETS, load_references, named_references

    sets = []
    for name in args.references:
        if name in NAMED_SETS and not args.annotations:
            raise EvaluationError(f"--references {name}: needs --annotations, the folder that holds its files")
        sets += named_references(name, args.annotations) if name in NAMED_SETS else load_references(name, args.split)
    return sets


def _training(args: argparse.Namespace) -> list[str] | None:
    from evaluation.references import load_references

    if args.training is None:
        return None
    sets = load_references(args.training, "train")
    return [sentence for reference in sets for texts in reference.texts.values() for sentence in texts]
