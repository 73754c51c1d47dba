"""A web page on this machine: drop a video, watch its sentences appear along the time line, download subtitles.

Standard library only. An upload is a file under a random name in a temporary folder and is deleted as soon as it is
captioned; nothing else of the disk can be read or written through the server.
"""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from captioner.page import HERE as PAGE_FOLDER
from captioner.page import document, time_line
from captioner.paragraph import WRITERS, Paragraph, Sentence, alike, as_written
from cootmart.pipeline import Captioner
from encoder.features.video import probe
from training.errors import CootmartError

KEPT = 50
"""latest paragraphs that can be downloaded"""
WAITING = 4
"""videos that may wait for their turn"""
CHUNK = 1 << 20
SOCKET_SECONDS = 60
"""without a byte from the browser before it is given up"""
PROGRESS_SECONDS = 0.25
RESULT = re.compile(r"/videos/([A-Za-z0-9_-]{22})\.(txt|srt|vtt|json)")
TYPES = {"txt": "text/plain", "srt": "application/x-subrip", "vtt": "text/vtt", "json": "application/json"}
PAGE_STYLE = """<style>
#drop { display: block; margin-bottom: 1rem; padding: 2rem 1rem; border: 2px dashed var(--line); border-radius: .5rem; text-align: center; cursor: pointer; }
#drop.over, #drop:hover, #drop:focus-within { border-color: var(--now); background: var(--tray); }
#drop input { position: absolute; opacity: 0; width: 1px; height: 1px; }
#drop small { display: block; color: var(--soft); }
#downloads a { display: inline-block; margin: 0 .2rem .4rem; padding: .1rem .8rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--tray); text-decoration: none; }
#downloads a:hover { border-color: var(--now); }
#status { overflow-wrap: anywhere; }
</style>"""  # noqa: E501


@dataclass(frozen=True)
class Limits:
    """What an upload may cost."""

    megabytes: float = 500.0
    """size of a video file"""
    minutes: float = 60.0
    """length of a video"""
    seconds: float = 600.0
    """time to decode it"""

    @property
    def bytes(self) -> int:
        """Size of a video file."""
        return int(self.megabytes * 1e6)


class RefusedError(Exception):
    """An answer other than what was asked for."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server(ThreadingHTTPServer):
    """The page and the captioner behind it; one video at a time, `WAITING` more may wait.

    Args:
        address: host and port; port 0 takes a free one.
    """

    daemon_threads = True

    def __init__(self, captioner: Captioner, address: tuple[str, int], limits: Limits | None = None) -> None:
        self.captioner, self.limits = captioner, limits or Limits()
        self.results: OrderedDict[str, Paragraph] = OrderedDict()
        self.turn, self.places = threading.Lock(), threading.BoundedSemaphore(1 + WAITING)
        self.folder = tempfile.TemporaryDirectory(prefix="cootmart-")
        self.nonce = secrets.token_urlsafe(16)
        self.page = render_page(self.limits, self.nonce)
        super().__init__(address, Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        return f"http://{host}:{port}/"

    def keep(self, paragraph: Paragraph) -> str:
        """Keep a paragraph for download under a name that cannot be guessed."""
        name = secrets.token_urlsafe(16)
        self.results[name] = paragraph
        while len(self.results) > KEPT:
            self.results.popitem(last=False)
        return name

    def server_close(self) -> None:
        super().server_close()
        self.folder.cleanup()


def render_page(limits: Limits, nonce: str) -> str:
    """The page before a video is dropped; its scripts carry ``nonce``."""
    body = (
        f"{PAGE_STYLE}<p>Sentences about what happens in your video, and when.</p>\n"
        f'<label id="drop" data-most="{limits.bytes}"><input type="file" id="file" accept="video/*,.mkv">'
        f"Drop a video here, or <u>choose one</u><small>at most {limits.megabytes:g} MB and {limits.minutes:g} minutes"
        '</small></label>\n<p id="status" role="status"></p>\n<div id="shown" hidden><div id="stage"><video controls>'
        f'</video>\n{time_line([], 1.0)}</div>\n<p id="text" aria-live="polite"></p>\n<p id="downloads"></p></div>'
    )
    scripts = (PAGE_FOLDER / "page.js", Path(__file__).with_suffix(".js"))
    page = document("cootmart", body, "\n".join(path.read_text(encoding="utf-8") for path in scripts))
    return page.replace("<script>", f'<script nonce="{nonce}">')


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    timeout = SOCKET_SECONDS

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        found = RESULT.fullmatch(path)
        if path == "/":
            self._answer("text/html", self.server.page)
        elif found and (paragraph := self.server.results.get(found[1])):
            kind, stem = found[2], re.sub(r"[^A-Za-z0-9._-]", "_", PurePosixPath(paragraph.video).stem)
            disposition = {"Content-Disposition": f'attachment; filename="{stem}.{kind}"'}
            self._answer(TYPES[kind], WRITERS[kind](paragraph), disposition)
        else:
            self._answer("text/plain", "there is nothing here\n", status=HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Take a video and answer with a JSON object a line: progress, segments, sentences, done or error."""
        path = Path(self.server.folder.name) / secrets.token_urlsafe(16)
        try:
            try:
                name = self._upload(path)
                self._caption(path, name)
            finally:
                path.unlink(missing_ok=True)  # before any answer that it is over
        except RefusedError as refused:
            self._answer("text/plain", f"{refused}\n", status=refused.status)
        except OSError:  # the browser has gone
            self.close_connection = True

    def _upload(self, path: Path) -> str:
        """Store the body at ``path`` and return the name that the browser gives it, for display only."""
        parts = urlsplit(self.path)
        if parts.path != "/videos":
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here")
        if self.headers.get("X-Cootmart") != "1":  # pages of other sites cannot send it
            raise RefusedError(HTTPStatus.FORBIDDEN, "found no header X-Cootmart: 1")
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "found no Content-Length")
        if int(size) > self.server.limits.bytes:
            most = self.server.limits.megabytes
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"found {int(size) / 1e6:.1f} MB, at most {most:g} are taken"
            )
        left = int(size)
        with path.open("wb") as file:
            while left and (data := self.rfile.read(min(left, CHUNK))):
                file.write(data)
                left -= len(data)
        if left:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"the upload broke off, {left} bytes are missing")
        return PurePosixPath(parse_qs(parts.query).get("name", ["video"])[0]).name[:200] or "video"

    def _caption(self, path: Path, name: str) -> None:
        if not self.server.places.acquire(blocking=False):
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{1 + WAITING} videos are waiting already; try again later"
            )
        try:
            with self.server.turn:
                self._headers("application/x-ndjson")
                self._send_sentences(path, name)
        finally:
            self.server.places.release()

    def _send_sentences(self, path: Path, name: str) -> None:
        captioner = self.server.captioner
        try:
            watched = captioner.watch(path, on_frame=self._watchdog(path))
            path.unlink()
            self._event("segments", duration=watched.duration, segments=watched.segments)
            sentences: list[Sentence] = []
            for sentence in captioner.write(watched):
                self._event("sentence", start=sentence.start, end=sentence.end, text=as_written(sentence.text))
                sentences.append(sentence)
            same = alike(sentences)
            warnings = (*watched.warnings, same) if same else watched.warnings
            self._event("done", id=self.server.keep(Paragraph(name, tuple(sentences), warnings)), warnings=warnings)
        except CootmartError as error:
            self._event("error", message=str(error).replace(str(path), name))

    def _watchdog(self, path: Path) -> Callable[[float], None]:
        """Tells the browser how far decoding is, and ends it at the limits, whatever the header of the file says."""
        limits, started, duration = self.server.limits, time.monotonic(), probe(path).duration
        last = started
        _require_short(duration, limits)

        def on_frame(seconds: float) -> None:
            nonlocal last
            now = time.monotonic()
            _require_short(seconds, limits)
            if now - started > limits.seconds:
                raise CootmartError(
                    f"decoding took longer than {limits.seconds:g} seconds; try a shorter or smaller video"
                )
            if now - last > PROGRESS_SECONDS:
                last = now
                self._event("progress", time=seconds, duration=duration)

        return on_frame

    def _event(self, kind: str, **values: Any) -> None:
        self.wfile.write((json.dumps({"event": kind, **values}) + "\n").encode())
        self.wfile.flush()

    def _answer(
        self, kind: str, text: str, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        data = text.encode()
        self._headers(kind, {"Content-Length": str(len(data)), **(headers or {})}, status)
        self.wfile.write(data)

    def _headers(self, kind: str, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK) -> None:
        script = f"script-src 'nonce-{self.server.nonce}'"
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; {script}; media-src blob:; "
            "connect-src 'self'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing: names of videos are nobody's business."""


def _require_short(seconds: float, limits: Limits) -> None:
    if seconds > 60 * limits.minutes:
        raise CootmartError(f"the video is longer than {limits.minutes:g} minutes; cut it, or raise --max-minutes")
