"""``cootmart caption``: the paragraph of any video file, or of every video in an embeddings file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioner.decoding import DecodingOptions
    from cootmart.batch import Outcome
    from cootmart.pipeline import Captioner

FORMATS = ("txt", "json", "srt", "vtt", "html")
SETTINGS, FAILURES = "settings.json", "failures.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to caption, with which model, split how, written where."""
    parser.add_argument(
        "videos", nargs="*", metavar="VIDEO", help="video files, folders with them, or URLs: what FFmpeg reads"
    )
    parser.add_argument("--embeddings", type=Path, help="caption every video of this embeddings file instead")
    parser.add_argument("--model", type=Path, required=True, help="captioner's model folder, e.g. runs/demo/captioner")
    split = parser.add_mutually_exclusive_group()
    split.add_argument(
        "--segments",
        default="auto",
        metavar="HOW",
        help="learnt, changes, scenes or uniform; or a JSON, CSV, SRT or VTT file with their times, or a folder with "
        "one for each video (default: auto, that is learnt where the model has learnt it, else changes)",
    )
    split.add_argument("--count", type=int, help="split evenly into this many segments")
    split.add_argument("--seconds", type=float, help="split evenly into segments of about this length")
    parser.add_argument(
        "--decoding",
        nargs="+",
        metavar=("STRATEGY", "key=value"),
        help="greedy, beam or sample, and its options, e.g. beam beam_size=5 n_best=3, or sample temperature=0.7",
    )
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, default=["txt"], help="of the output, one or several (default: txt)"
    )
    parser.add_argument("--out", type=Path, help="file, or folder for several videos or formats (default: print)")
    parser.add_argument("--workers", type=int, default=2, help="videos decoded at a time (default: %(default)s)")
    parser.add_argument(
        "--ray", action="store_true", help="let --workers processes of a Ray cluster do it, on one machine or many"
    )
    parser.add_argument("--resume", action="store_true", help="go on with an earlier run: skip what is written already")


def run(args: argparse.Namespace) -> int:
    """Caption; a video that cannot be read does not stop the others, but makes the exit code 2."""
    from training.errors import CootmartError

    if bool(args.videos) == bool(args.embeddings):
        raise CootmartError("caption: expected video files or --embeddings FILE, one of the two")
    decoding = decoding_options(args.decoding)
    return _caption_embeddings(args, decoding) if args.embeddings else _caption_videos(args, decoding)


def decoding_options(words: list[str] | None) -> DecodingOptions | None:
    """``STRATEGY key=value ...`` as options; None where nothing was said.

    Raises:
        CootmartError: an unknown strategy or option, or a value that does not fit.
    """
    if not words:
        return None
    from captioner.decoding import DecodingOptions
    from training.config import override
    from training.errors import CootmartError

    strategy, *changes = words
    if stray := [word for word in changes if "=" not in word]:
        raise CootmartError(f"--decoding: found {stray[0]!r}, expected key=value; videos go before the options")
    return override(DecodingOptions(), [f"strategy={strategy}", *changes])


def _caption_embeddings(args: argparse.Namespace, decoding: DecodingOptions | None) -> int:
    from captioner.caption import caption_file
    from captioner.submission import write_submission

    out = args.out or args.embeddings.with_suffix(".captions.json")
    write_submission(out, caption_file(args.model, args.embeddings, decoding))
    print(f"captions: {out}")
    return 0


def _caption_videos(args: argparse.Namespace, decoding: DecodingOptions | None) -> int:
    from cootmart.batch import caption_videos, find_all
    from cootmart.pipeline import Captioner
    from training.progress import Progress

    names = find_all(args.videos)
    _require_segments_of_each(args.segments, names)
    captioner = None if args.ray else Captioner.from_pretrained(args.model)
    videos, targets = list(names), _targets(args, names)
    todo = [v for v in videos if not (args.resume and all(path.exists() for path in targets[v].values()))]
    if len(todo) < len(videos):
        print(f"{len(videos) - len(todo)} of {len(videos)} videos are captioned already", file=sys.stderr)
    ask: dict[str, Any] = {"segments": args.segments, "count": args.count, "seconds": args.seconds}
    if captioner and args.out is None and args.format == ["txt"]:
        return _print_as_written(captioner, names, ask, decoding)
    if captioner:
        outcomes = caption_videos(captioner, todo, decoding, args.workers, **ask)
    else:
        from cootmart.batch_ray import caption_on_cluster

        outcomes = caption_on_cluster(args.model, todo, decoding, args.workers, **ask)
    problems: dict[str, str] = {}
    with Progress("captions", len(todo), shown=len(todo) > 1) as bar:
        for outcome in outcomes:
            if outcome.paragraph is None:
                problems[str(outcome.video)] = outcome.problem
                _keep_failures(args, problems)
            else:
                _write(outcome, targets[outcome.video], args.format)
            bar.advance()
    _keep_failures(args, problems)
    return _report([*problems.values()], len(videos))


def _require_segments_of_each(segments: str, names: dict[Any, str]) -> None:
    """A folder of segments knows videos by their file names alone."""
    from training.errors import CootmartError

    if not Path(segments).is_dir():
        return
    seen: dict[str, str] = {}
    for name in names.values():
        stem = Path(name).stem
        if seen.setdefault(stem, name) != name:
            raise CootmartError(
                f"{segments}: {seen[stem]} and {name} would get the same segments, those of {stem}; caption them one "
                "after the other"
            )


def _print_as_written(
    captioner: Captioner, names: dict[Any, str], ask: dict[str, Any], decoding: DecodingOptions | None
) -> int:
    """Every sentence as soon as there is one, a line a video; with its name in front where there are several."""
    from captioner.paragraph import alike, as_written
    from training.errors import CootmartError

    problems = []
    for video, name in names.items():
        try:
            watched = captioner.watch(video, **ask)
            print(f"{_on_one_line(name)}: " * (len(names) > 1), end="")
            sentences = []
            for sentence in captioner.write(watched, decoding):
                print(" " * bool(sentences) + as_written(sentence.text), end="", flush=True)
                sentences.append(sentence)
            print()
            same = alike(sentences)
            _warn(video, (*watched.warnings, same) if same else watched.warnings)
        except CootmartError as error:
            problems.append(str(error))
    return _report(problems, len(names))


def _on_one_line(text: str) -> str:
    """Line breaks in names of files would spoil lists of them."""
    return " ".join(text.splitlines())


def _report(problems: list[str], total: int) -> int:
    for problem in problems:
        print(f"cootmart: error: {_on_one_line(problem)}", file=sys.stderr)
    if problems and total > 1:
        print(f"cootmart: {len(problems)} of {total} videos have no captions", file=sys.stderr)
    return 2 if problems else 0


def _warn(video: str | Path, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        print(f"cootmart: warning: {video}: {warning}", file=sys.stderr)


def _targets(args: argparse.Namespace, videos: dict[Any, str]) -> dict[Any, dict[str, Path]]:
    """Which files to write for each video, by format; none where captions are printed.

    A folder gets the same folders in it as the one with the videos.
    """
    from cootmart.batch import output_names
    from training.errors import CootmartError

    if args.out is None:
        if args.resume or "html" in args.format:
            raise CootmartError("caption: --resume and --format html need --out, a folder or a file")
        return {video: {} for video in videos}
    if len(videos) == 1 and len(args.format) == 1 and not args.out.is_dir():
        return {next(iter(videos)): {args.format[0]: args.out}}
    _keep_settings(args)
    names = output_names(videos)
    for video, name in names.items():
        if f"{name}.json" in (SETTINGS, FAILURES) and "json" in args.format:
            raise CootmartError(f"{video}: its captions would replace the list {name}.json of this command; rename it")
    return {v: {kind: args.out / f"{names[v]}.{kind}" for kind in args.format} for v in videos}


def _keep_settings(args: argparse.Namespace) -> None:
    """Write what captions in the folder are made with; a run that goes on must be asked for the same."""
    from training.errors import CootmartError
    from training.files import read_json, write_json

    names = ("model", "segments", "count", "seconds", "decoding")
    values = {name: getattr(args, name) for name in names}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    path = args.out / SETTINGS
    earlier = read_json(path) if args.resume and path.exists() else settings
    for name in names:
        if earlier.get(name) != settings[name]:
            raise CootmartError(
                f"{path}: the captions there were made with {name} {earlier.get(name)}, now it is {settings[name]}; "
                "write to another folder, or leave out --resume"
            )
    write_json(path, settings)


def _keep_failures(args: argparse.Namespace, problems: dict[str, str]) -> None:
    """What is wrong with which video, beside the captions of the others; no file where all is well."""
    from training.files import write_json

    if args.out is None or not (args.out / SETTINGS).exists():
        return
    if problems:
        write_json(args.out / FAILURES, problems)
    else:
        (args.out / FAILURES).unlink(missing_ok=True)


def _write(outcome: Outcome, targets: dict[str, Path], formats: list[str]) -> None:
    from captioner.page import source_of, to_html
    from captioner.paragraph import WRITERS
    from training.files import atomic_path

    assert outcome.paragraph is not None
    _warn(outcome.video, outcome.paragraph.warnings)
    for kind in formats:
        if not targets:
            print(WRITERS[kind](outcome.paragraph), end="")
            continue
        path = targets[kind]
        if kind == "html":
            text = to_html(outcome.paragraph, outcome.duration, source_of(outcome.video, path))
        else:
            text = WRITERS[kind](outcome.paragraph)
        with atomic_path(path) as beside:
            beside.write_text(text, encoding="utf-8")
        print(path)
