"""The held-out videos of a report: frames, generated sentences beside the references, and what to look at in them."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

import numpy as np
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.report_data import Flag, Sample, SampleClip

WORD = re.compile(r"\w+(?:['’]\w+)*")
REPEATED_N = 4
MAX_SIDE = 320  # pixels; larger arrays are shrunk, the page shows them at about 100
MAGIC = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png"}

Colours = Mapping[str, str]


def words(text: str) -> list[str]:
    """The lower-cased words of ``text`` without its punctuation."""
    return WORD.findall(text.lower())


def repeated_words(sentences: Sequence[str], n: int = REPEATED_N) -> list[list[bool]]:
    """For each word of each sentence, whether it belongs to an n-gram that an earlier place of the paragraph has.

    As in R@n, n-grams do not cross sentences, and every occurrence after the first counts as repetition.
    """
    seen: set[tuple[str, ...]] = set()
    result = []
    for tokens in map(words, sentences):
        marks = [False] * len(tokens)
        for i in range(len(tokens) - n + 1):
            gram = tuple(tokens[i : i + n])
            if gram in seen:
                marks[i : i + n] = [True] * n
            seen.add(gram)
        result.append(marks)
    return result


def new_words(sentence: str, references: Sequence[str]) -> list[bool]:
    """For each word of ``sentence``, whether no reference has it; all False without references."""
    known = {word for reference in references for word in words(reference)}
    return [bool(known) and word not in known for word in words(sentence)]


def marked(sentence: str, repeated: Sequence[bool], new: Sequence[bool]) -> str:
    """``sentence`` as HTML with ``<mark>`` around repeated stretches and an underline below new words."""
    # A lower-cased copy may have other word borders than the text itself; then it is shown without marks.
    spans = [match.span() for match in WORD.finditer(sentence)]
    if not len(spans) == len(repeated) == len(new):
        return escape(sentence)
    parts, end = [], 0
    for is_repeated, group in groupby(range(len(spans)), key=lambda i: repeated[i]):
        inner, first, gap = [], True, ""
        for i in group:
            between, word = escape(sentence[end : spans[i][0]]), escape(sentence[slice(*spans[i])])
            gap, between = (between, "") if first else (gap, between)
            inner.append(between + (f'<u title="in no reference">{word}</u>' if new[i] else word))
            first, end = False, spans[i][1]
        text = "".join(inner)
        parts.append(gap + (f'<mark title="said before">{text}</mark>' if is_repeated else text))
    return "".join(parts) + escape(sentence[end:])


def image_uri(frame: bytes | np.ndarray, where: str) -> tuple[str, int, int]:
    """A frame as (data URI, width, height).

    Raises:
        EvaluationError: the bytes are neither JPEG nor PNG, or the array is not uint8 (H, W, 3).
    """
    if isinstance(frame, np.ndarray):
        frame = _jpeg(frame, where)
    kind = next((name for magic, name in MAGIC.items() if bytes(frame[: len(magic)]) == magic), None)
    if kind is None:
        raise EvaluationError(f"{where}: neither JPEG nor PNG (starts with {bytes(frame[:8])!r})")
    try:
        width, height = Image.open(io.BytesIO(frame)).size
    except OSError as error:
        raise EvaluationError(f"{where}: broken {kind.upper()} image ({error})") from None
    return f"data:image/{kind};base64,{base64.b64encode(frame).decode('ascii')}", width, height


def _jpeg(frame: np.ndarray, where: str) -> bytes:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise EvaluationError(f"{where}: found {frame.dtype} {frame.shape}, expected uint8 (height, width, 3)")
    image, buffer = Image.fromarray(np.ascontiguousarray(frame)), io.BytesIO()
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def time_text(start: float, end: float) -> str:
    """``0.0–2.5 s``, or ``1:05–1:20`` when the clip ends after a minute."""
    if end < 60:
        return f"{start:.1f}–{end:.1f} s"  # noqa: RUF001
    clock = [f"{int(t) // 60}:{int(t) % 60:02d}" for t in (start, end)]
    return "–".join(clock)  # noqa: RUF001


def systems_of(samples: Sequence[Sample]) -> list[str]:
    """Names of the systems in order of first appearance."""
    return list(dict.fromkeys(name for sample in samples for clip in sample.clips for name in clip.generated))


def flag_kinds(samples: Sequence[Sample]) -> list[tuple[str, str, bool]]:
    """The distinct (system, label, right) of all flags, in order: the choices of the filter."""
    flags = [flag for sample in samples for clip in sample.clips for flag in clip.flags]
    return sorted({(flag.system, flag.label, flag.right) for flag in flags})


def _flags_html(flags: Sequence[Flag], system: str) -> str:
    signs = {True: ("right", "✓", "right"), False: ("wrong", "✗", "wrong")}
    return "".join(
        f' <span class="flag {signs[flag.right][0]}"><span aria-hidden="true">{signs[flag.right][1]}</span> '
        f'{escape(flag.label)}<span class="unseen"> {signs[flag.right][2]}</span></span>'
        for flag in flags
        if flag.system == system
    )


def _frames_html(clip: SampleClip, where: str, number: int) -> str:
    images = []
    for i, frame in enumerate(clip.frames, 1):
        uri, width, height = image_uri(frame, f"{where}, frame {i}")
        alt = f"Clip {number}, frame {i} of {len(clip.frames)}"
        images.append(f'<img src="{uri}" width="{width}" height="{height}" alt="{alt}" decoding="async">')
    columns = min(max(len(images), 1), 4)
    strip = f'<div class="frames" style="--n:{columns}">{"".join(images)}</div>' if images else ""
    flags = _flags_html(clip.flags, "")
    time = escape(time_text(clip.start, clip.end))
    return f"<figure>{strip}<figcaption>Clip {number} <span>{time}</span>{flags}</figcaption></figure>"


def _references_html(references: Sequence[str]) -> str:
    if not references:
        return ""
    first, *others = [f'<span dir="auto">{escape(reference)}</span>' for reference in references]
    more = ""
    if others:
        items = "".join(f"<li>{other}</li>" for other in others)
        more = f'<details class="more"><summary>{len(others)} more</summary><ul>{items}</ul></details>'
    return f'<div class="said reference"><dt>reference</dt><dd>{first}{more}</dd></div>'


def _clip_html(sample: Sample, index: int, repeated: Mapping[str, list[list[bool]]], colours: Colours) -> str:
    clip, said = sample.clips[index], []
    for name, sentence in clip.generated.items():
        text = marked(sentence, repeated[name][index], new_words(sentence, clip.references))
        flags = _flags_html(clip.flags, name)
        said.append(
            f'<div class="said"><dt class="{colours[name]}">{escape(name)}</dt>'
            f'<dd><span dir="auto">{text}</span>{flags}</dd></div>'
        )
    figure = _frames_html(clip, f"video {sample.video!r}, clip {index + 1}", index + 1)
    return f'<li class="clip">{figure}<dl>{"".join(said)}{_references_html(clip.references)}</dl></li>'


def _tally_html(sample: Sample) -> str:
    """Right and wrong flags of the whole video, seen while it is folded."""
    flags = [flag for clip in sample.clips for flag in clip.flags]
    right = sum(flag.right for flag in flags)
    signs = ((right, "right", "✓"), (len(flags) - right, "wrong", "✗"))
    shown = [f'<span class="flag {name}">{sign} {count}</span>' for count, name, sign in signs if count]
    return "".join(shown)


def sample_html(sample: Sample, number: int, colours: Colours, score_name: str, is_open: bool, kinds: list) -> str:
    """One video as an ``<article>`` that folds; its data attributes are what the page's script sorts by."""
    repeated = {
        name: repeated_words([clip.generated.get(name, "") for clip in sample.clips]) for name in systems_of([sample])
    }
    clips = "".join(_clip_html(sample, i, repeated, colours) for i in range(len(sample.clips)))
    has_score = sample.score is not None and math.isfinite(sample.score)
    score = f'<span class="score">{escape(score_name)} <b>{sample.score:.1f}</b></span>' if has_score else ""
    value = repr(float(sample.score)) if has_score else ""
    present = {(flag.system, flag.label, flag.right) for clip in sample.clips for flag in clip.flags}
    picks = " ".join(str(i) for i, kind in enumerate(kinds) if kind in present)
    length = f"{len(sample.clips)} clip{'' if len(sample.clips) == 1 else 's'}"
    return (
        f'<article class="sample card" data-number="{number}" data-score="{value}" data-picks="{picks}">'
        f"<details{' open' if is_open else ''}><summary><h3>{escape(sample.video)}</h3>"
        f'<span class="length">{length}</span>{_tally_html(sample)}{score}</summary>'
        f'<ol class="clips">{clips}</ol></details></article>'
    )
