"""The ``cootmart`` command: one sub-command a job, each a module of `cootmart.commands`.

Nothing heavy is imported before the chosen job runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import cootmart

COMMANDS = {
    "demo": "render videos, train both stages, caption held-out videos, score them, write a report",
    "train": "train the encoder or a captioner from a configuration",
    "embed": "write clip and video embeddings of a data set with a trained encoder",
    "caption": "write the paragraph of any video file",
    "score": "score predicted paragraphs against references",
}


def build_parser() -> argparse.ArgumentParser:
    """Parser with every sub-command; modules of jobs are imported, not what they work with."""
    parser = argparse.ArgumentParser(
        prog="cootmart",
        description="From long videos to coherent paragraphs: COOT encoder, MART captioner, scores.",
    )
    parser.add_argument("--version", action="version", version=f"cootmart {cootmart.__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    jobs = parser.add_subparsers(dest="command", metavar="job", required=True)
    for name, text in COMMANDS.items():
        module = importlib.import_module(f"cootmart.commands.{name}")
        job = jobs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        module.add_arguments(job)
        job.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return its exit code: 0 done, 1 done with failures, 2 wrong input."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("cootmart: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug or not _is_for_the_user(error):
            raise
        print(f"cootmart: error: {error}", file=sys.stderr)
        return 2


def _is_for_the_user(error: Exception) -> bool:
    from evaluation.errors import EvaluationError
    from training.errors import CootmartError

    return isinstance(error, CootmartError | EvaluationError)
