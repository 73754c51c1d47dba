"""``cootmart serve``: a web page that captions the videos that are dropped on it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which model, where, and what a video may cost."""
    parser.add_argument("--model", type=Path, required=True, help="captioner's model folder, e.g. runs/demo/captioner")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for other machines, too (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--max-mb", type=float, default=500.0, help="size of a video (default: %(default)g)")
    parser.add_argument("--max-minutes", type=float, default=60.0, help="length of a video (default: %(default)g)")
    parser.add_argument("--max-seconds", type=float, default=600.0, help="time to decode it (default: %(default)g)")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from cootmart.pipeline import Captioner
    from cootmart.serve import Limits, Server
    from training.errors import CootmartError

    captioner = Captioner.from_pretrained(args.model)
    try:
        server = Server(captioner, (args.host, args.port), Limits(args.max_mb, args.max_minutes, args.max_seconds))
    except OSError as error:
        raise CootmartError(f"{args.host}:{args.port}: {error.strerror}; choose another with --port") from None
    print(f"captions at {server.url}, stop with Ctrl+C", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()
    return 0
