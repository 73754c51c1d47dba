"""The held-out videos of a report: frames, generated sentences beside the references, and what to look at in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.report_data import Flag, Report, Sample, SampleClip
from evaluation.report_html import Markup, element, is_number, join, number, unseen
from evaluation.report_words import marked, repeated_words, wrong_words

MAX_SIDE = 224  # pixels; the page shows frames at about 100
QUALITY = 80
N_OPEN = 3  # videos that are unfolded when the page opens

Colours = Mapping[str, str]


def image_uri(frame: bytes | np.ndarray, where: str) -> tuple[str, int, int]:
    """A frame as (data URI, width, height); small JPEG and PNG bytes stay as they are.

    Raises:
        EvaluationError: the bytes are neither JPEG nor PNG, or the array is not uint8 (H, W, 3).
    """
    image = _decode(frame, where)
    if isinstance(frame, np.ndarray) or max(image.size) > MAX_SIDE:
        image = image.convert("RGB")
        image.thumbnail((MAX_SIDE, MAX_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
        kind, data = "jpeg", buffer.getvalue()
    else:
        kind, data = image.format.lower(), bytes(frame)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}", *image.size


def _decode(frame: bytes | np.ndarray, where: str) -> Image.Image:
    if isinstance(frame, np.ndarray):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise EvaluationError(f"{where}: found {frame.dtype} {frame.shape}, expected uint8 (height, width, 3)")
        return Image.fromarray(np.ascontiguousarray(frame))
    try:
        image = Image.open(io.BytesIO(frame), formats=("JPEG", "PNG"))
        image.load()
    except OSError as error:
        start = bytes(frame[:8])
        raise EvaluationError(f"{where}: found bytes {start!r}, expected a whole JPEG or PNG ({error})") from None
    return image


def time_text(start: float, stop: float) -> str:
    """``0.0-2.5 s``, or ``1:05-1:20`` when the clip ends after a minute (with a dash)."""
    if stop < 60:
        return f"{start:.1f}\u2013{stop:.1f} s"
    clock = [f"{int(t) // 60}:{int(t) % 60:02d}" for t in (start, stop)]
    return "\u2013".join(clock)


def systems_of(samples: Sequence[Sample]) -> list[str]:
    """Names of the systems in order of first appearance."""
    return list(dict.fromkeys(name for sample in samples for clip in sample.clips for name in clip.sentences))


def pick_names(samples: Sequence[Sample]) -> list[str]:
    """The choices of the filter: tags, then flags with their outcome."""
    tags = dict.fromkeys(sample.tag for sample in samples if sample.tag)
    flags = sorted({_flag_name(flag) for sample in samples for clip in sample.clips for flag in clip.flags})
    return [*tags, *flags]


def _flag_name(flag: Flag) -> str:
    outcome = "right" if flag.is_right else "wrong"
    return f"{flag.label} {outcome}" + (f" ({flag.system})" if flag.system else "")


def _flags(flags: Sequence[Flag], system: str) -> list[Markup]:
    parts = []
    for flag in flags:
        if flag.system == system:
            css, sign = ("right", "✓") if flag.is_right else ("wrong", "✗")
            shown = element("span", sign, aria_hidden="true")
            parts.append(element("span", shown, " ", flag.label, unseen(f" {css}"), class_=f"flag {css}"))
    return parts


def _strip(clip: SampleClip, video: str, position: int) -> Markup:
    images = []
    for i, frame in enumerate(clip.frames, 1):
        uri, width, height = image_uri(frame, f"video {video!r}, clip {position}, frame {i}")
        alt = f"Frame {i} of {len(clip.frames)} of clip {position}, {time_text(clip.start, clip.stop)}"
        images.append(element("img", src=uri, width=width, height=height, alt=alt, decoding="async"))
    strip = [element("div", *images, class_=f"frames n{min(len(images), 4)}")] if images else []
    time = element("span", time_text(clip.start, clip.stop))
    caption = element("figcaption", element("b", f"Clip {position}"), " ", time, *_flags(clip.flags, ""))
    return element("figure", *strip, caption)


def _said(clip: SampleClip, name: str, system: int, css: str, repeated: Sequence[int]) -> Markup:
    sentence = clip.sentences[name]
    text = marked(sentence, repeated, wrong_words(sentence, clip.references)) if sentence.strip() else "(nothing)"
    term = element("dt", element("i", class_=css), name)
    shown = element("span", text, dir="auto", class_="text")
    return element("div", term, element("dd", shown, *_flags(clip.flags, name)), class_="said", data_system=system)


def _reference(references: Sequence[str]) -> list[Markup]:
    if not references:
        return []
    first, *others = [element("span", reference, dir="auto", class_="text") for reference in references]
    more = []
    if others:
        items = element("ul", *[element("li", other) for other in others])
        more = [element("details", element("summary", f"{len(others)} more"), items, class_="more")]
    term = element("dt", element("i", class_="reference"), "reference")
    return [element("div", term, element("dd", first, *more), class_="said", data_system="reference")]


def _clip(sample: Sample, index: int, systems: Sequence[str], repeated: Mapping, colours: Colours) -> Markup:
    clip = sample.clips[index]
    said = [
        _said(clip, name, i, colours[name], repeated[name][index])
        for i, name in enumerate(systems)
        if name in clip.sentences
    ]
    figure = _strip(clip, sample.video, index + 1)
    return element("li", figure, element("dl", *said, *_reference(clip.references)), class_="clip")


def _scores(sample: Sample, score: str, colours: Colours) -> list[Markup]:
    shown = [
        element("span", element("i", class_=colours.get(name, "reference")), unseen(f"{name} "), number(value))
        for name, value in sample.scores.items()
    ]
    return [element("span", score, " ", join(shown), class_="score")] if shown else []


def sample_card(sample: Sample, position: int, report: Report, picks: Sequence[str], colours: Colours) -> Markup:
    """One video as an ``<article>`` that folds; its data attributes are what the page's script sorts and filters by."""
    systems = systems_of(report.samples)
    repeated = {name: repeated_words([clip.sentences.get(name, "") for clip in sample.clips]) for name in systems}
    clips = [_clip(sample, i, systems, repeated, colours) for i in range(len(sample.clips))]
    names = {sample.tag} | {_flag_name(flag) for clip in sample.clips for flag in clip.flags}
    first = next(iter(sample.scores.values()), None)
    length = f"{len(clips)} clip{'' if len(clips) == 1 else 's'}"
    tag = [element("span", sample.tag, class_="tag")] if sample.tag else []
    summary = element(
        "summary", element("h3", sample.video), *tag, element("span", length, class_="soft"),
        *_scores(sample, report.sample_score, colours),
    )  # fmt: skip
    body = element("details", summary, element("ol", *clips), open=position < N_OPEN)
    return element(
        "article", body, class_="sample card", data_position=position,
        data_score=float(first) if is_number(first) else "",
        data_picks=" ".join(str(i) for i, name in enumerate(picks) if name in names),
    )  # fmt: skip


def toolbar(report: Report, picks: Sequence[str], colours: Colours) -> Markup:
    """Search, order, filter and the choice of systems; hidden until the page's script runs."""
    search = element("input", type="search", id="search", placeholder="a word or a video", autocomplete="off")
    fields = [element("label", element("span", "Search"), search)]
    orders = (("position", "as chosen"), ("best", "best first"), ("worst", "worst first"))
    if any(sample.scores for sample in report.samples):
        fields.append(_select("order", f"Order by {report.sample_score}", orders))
    if picks:
        choices = [("", "all videos"), *((str(i), name) for i, name in enumerate(picks))]
        fields.append(_select("pick", "Show", choices))
    systems = [(str(i), name, colours[name]) for i, name in enumerate(systems_of(report.samples))]
    if any(clip.references for sample in report.samples for clip in sample.clips):
        systems.append(("reference", "reference", "reference"))
    boxes = [
        element("label", element("input", type="checkbox", value=value, checked=True), element("i", class_=css), name)
        for value, name, css in systems
    ]
    toggles = element("fieldset", element("legend", "Sentences of"), *boxes, id="whose")
    fold = element("button", "Open all", type="button", id="fold")
    count = element("p", id="count", role="status", class_="soft")
    return element("form", *fields, fold, toggles, count, class_="toolbar card", id="toolbar", hidden=True)


def _select(name: str, label: str, choices: Sequence[tuple[str, str]]) -> Markup:
    options = [element("option", text, value=value) for value, text in choices]
    return element("label", element("span", label), element("select", *options, id=name))
