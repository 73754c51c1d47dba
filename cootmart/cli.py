"""The ``cootmart`` command: one sub-command a job, each a module of `cootmart.commands`.

Nothing heavy is imported before the chosen job runs, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import sys
from collections.abc import Sequence

import cootmart

COMMANDS = {
    "demo": "render videos, train both stages, caption held-out videos, score them, write a report",
    "train": "train the encoder or a captioner from a configuration",
    "embed": "write clip and video embeddings of a data set with a trained encoder",
    "retrieve": "find the videos and clips that a sentence describes",
    "caption": "write the paragraph of any video file",
    "serve": "caption videos on a web page of this machine",
    "score": "score predicted paragraphs against references, or embeddings by retrieval",
    "benchmark": "train and score a suite of systems, and write one table of them",
    "convert": "turn YouCook2, ActivityNet or CSV annotations into meta_all.json",
    "features": "compute frame features of videos, or word features of sentences",
    "check-data": "report everything that is wrong with annotations and features",
    "import": "turn a checkpoint of the published code into a model folder",
    "export": "turn a model folder into a checkpoint of the published code",
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
        module = importlib.import_module(f"cootmart.commands.{_module_name(name)}")
        job = jobs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        module.add_arguments(job)
        job.set_defaults(run=module.run)
    return parser


def _module_name(job: str) -> str:
    return job.replace("-", "_") + ("_" if keyword.iskeyword(job) else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job and return its exit code: 0 done, 1 done with failures, 2 wrong input."""
    args = parse(build_parser(), arguments)
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


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse with ``key=value`` overrides anywhere: argparse alone takes positional arguments only in one piece."""
    args, rest = parser.parse_known_args(arguments)
    unknown = [word for word in rest if "=" not in word or word.startswith("-")]
    if unknown or (rest and not hasattr(args, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def _is_for_the_user(error: Exception) -> bool:
    from evaluation.errors import EvaluationError
    from training.errors import CootmartError

    return isinstance(error, CootmartError | EvaluationError)
