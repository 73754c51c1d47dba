"""The result of captioning: sentences with their times, and the files they can be written to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

FEW = 4
"""sentences below which likeness tells nothing"""
SAME = 0.8
MOST = 0.8
"""share of the sentences"""


@dataclass(frozen=True)
class Sentence:
    """One sentence about one segment of a video; times in seconds."""

    start: float
    end: float
    text: str
    alternatives: tuple[str, ...] = ()
    """other ways to say it, best first, where beam search was asked for several"""


@dataclass(frozen=True)
class Paragraph:
    """What the captioner says about a video."""

    video: str
    sentences: tuple[Sentence, ...]
    warnings: tuple[str, ...] = ()
    """reasons to doubt it"""

    @property
    def text(self) -> str:
        """The sentences as running text."""
        return " ".join(as_written(sentence.text) for sentence in self.sentences)


def as_written(tokens: str) -> str:
    """Tokens as people write them: a capital at the start, no blank before punctuation, one full stop."""
    text = tokens.strip()
    for mark in (".", ",", "!", "?", ";", ":", "'s", "n't", "%"):
        text = text.replace(f" {mark}", mark)
    text = text.rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def to_txt(paragraph: Paragraph) -> str:
    """The paragraph on one line."""
    return paragraph.text + "\n"


def to_json(paragraph: Paragraph) -> str:
    """``{"video", "text", "sentences": [{"start", "end", "text"}]}``; ``alternatives`` and ``warnings`` if any."""
    value = {"video": paragraph.video, "text": paragraph.text}
    value["sentences"] = [_without_empty(asdict(sentence)) for sentence in paragraph.sentences]
    value |= {"warnings": paragraph.warnings} if paragraph.warnings else {}
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _without_empty(values: dict) -> dict:
    return {name: value for name, value in values.items() if name != "alternatives" or value}


def alike(sentences: Sequence[Sentence]) -> str | None:
    """A warning where nearly all sentences say the same, None where they do not.

    Two sentences say the same where at least `SAME` of the words of either are words of both (Jaccard index).
    """
    words = [frozenset(sentence.text.split()) for sentence in sentences]
    if len(words) < FEW:
        return None
    usual = Counter(words).most_common(1)[0][0]
    same = sum(len(w & usual) >= SAME * len(w | usual) for w in words)
    if same < MOST * len(words):
        return None
    return (
        f"{same} of {len(words)} sentences are nearly alike: the video may show what the captioner was not trained on, "
        "or the segments are too short to tell apart; try longer ones, or other decoding options"
    )


def to_srt(paragraph: Paragraph) -> str:
    """SubRip subtitles, one cue a sentence."""
    cues = [
        f"{i}\n{clock(s.start, ',')} --> {clock(s.end, ',')}\n{as_written(s.text)}\n"
        for i, s in enumerate(paragraph.sentences, 1)
    ]
    return "\n".join(cues)


def to_vtt(paragraph: Paragraph) -> str:
    """WebVTT subtitles, one cue a sentence."""
    cues = [f"{clock(s.start, '.')} --> {clock(s.end, '.')}\n{as_written(s.text)}\n" for s in paragraph.sentences]
    return "\n".join(["WEBVTT\n", *cues])


def clock(seconds: float, point: str) -> str:
    """``hh:mm:ss`` with milliseconds behind ``point``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


WRITERS: dict[str, Callable[[Paragraph], str]] = {
    "txt": to_txt,
    "json": to_json,
    "srt": to_srt,
    "vtt": to_vtt,
}
