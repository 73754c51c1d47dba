"""A page to look at a captioned video: the player, a time line of its clips, and the paragraph that runs along."""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from captioner.paragraph import Paragraph, Sentence, as_written, to_vtt
from captioner.segments import Segment

MOST_EMBEDDED = 20_000_000
"""bytes of a video that become part of the page; larger ones are linked"""
HERE = Path(__file__).parent


def to_html(paragraph: Paragraph, duration: float, source: str) -> str:
    """One HTML file without any other file but perhaps the video.

    Args:
        duration: of the video in seconds.
        source: where the page finds the video, see `source_of`.
    """
    body = "".join(f'<p class="warning">{escape(warning)}</p>\n' for warning in paragraph.warnings)
    said = " ".join(_said(i, s.start, s.end, as_written(s.text)) for i, s in enumerate(paragraph.sentences))
    rows = "\n".join(map(_row, paragraph.sentences))
    track = base64.b64encode(to_vtt(paragraph).encode()).decode()
    body += (
        f'<div id="stage"><video controls preload="metadata" src="{escape(source)}"><track kind="captions" '
        f'label="Captions" src="data:text/vtt;base64,{track}">This browser cannot play the video.</video>\n'
        f"{time_line([(s.start, s.end) for s in paragraph.sentences], duration)}</div>\n"
        f'<p id="text">{said}</p>\n'
        f"<details><summary>Sentence by sentence</summary><table>{rows}</table></details>"
    )
    return document(paragraph.video, body, (HERE / "page.js").read_text(encoding="utf-8"))


def document(title: str, body: str, script: str) -> str:
    """An HTML document in the style of these pages."""
    style = (HERE / "page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n<script>\n{script}</script>\n"
        "</body>\n</html>\n"
    )


def time_line(segments: Sequence[Segment], duration: float) -> str:
    """A bar with a button for every segment; overlapping ones lie in lanes."""
    lanes = lanes_of(segments)
    buttons = "".join(
        f'<button type="button" data-start="{start:.3f}" data-end="{end:.3f}" aria-label="clip {i}, {clock(start)} to '
        f'{clock(end)}" style="left:{100 * start / duration:.3f}%;width:{100 * (end - start) / duration:.3f}%;'
        f'--lane:{lane}"><span>{i}</span></button>'
        for i, ((start, end), lane) in enumerate(zip(segments, lanes, strict=True), 1)
    )
    return (
        f'<div id="line" data-duration="{duration:.3f}" style="--lanes:{max(lanes, default=0) + 1}">{buttons}'
        f'<span id="at"></span></div>\n<div id="ends"><span>{clock(0)}</span><span>{clock(duration)}</span></div>'
    )


def lanes_of(segments: Sequence[Segment]) -> list[int]:
    """The first lane that is free at the start of each segment."""
    free: list[float] = []
    lanes = []
    for start, end in segments:
        lane = next((i for i, until in enumerate(free) if until <= start + 1e-6), len(free))
        free[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def source_of(video: str | Path, page: Path) -> str:
    """What a page at ``page`` plays: a small video itself as a data URI, a large one by a link relative to the page."""
    path = Path(video)
    if not path.is_file():
        return str(video)
    if path.stat().st_size >= MOST_EMBEDDED:
        return quote(Path(os.path.relpath(path, page.parent)).as_posix())
    kind = mimetypes.guess_type(path.name)[0] or "video/mp4"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def clock(seconds: float) -> str:
    """``m:ss.t``, with hours where there are any."""
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours = f"{minutes // 60}:{minutes % 60:02d}" if minutes >= 60 else str(minutes)
    return f"{hours}:{tenths // 10:02d}.{tenths % 10}"


def _said(number: int, start: float, end: float, text: str) -> str:
    return (
        f'<span class="said" tabindex="0" data-clip="{number}" data-start="{start:.3f}" data-end="{end:.3f}">'
        f"{escape(text)}</span>"
    )


def _row(sentence: Sentence) -> str:
    others = "".join(f'<span class="other">or: {escape(as_written(text))}</span>' for text in sentence.alternatives)
    times = f"{clock(sentence.start)} to {clock(sentence.end)}"
    return f"<tr><td>{times}</td><td>{escape(as_written(sentence.text))}{others}</td></tr>"
