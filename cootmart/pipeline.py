"""The whole way from a video file to its paragraph, as one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from captioner.caption import caption_together, stream_captions
from captioner.decoding import DecodingOptions
from captioner.folder import load_captioner
from captioner.paragraph import Paragraph, Sentence, alike
from captioner.segments import Segment, by_length, check_segments, read_segments, uniform
from cootmart.segmenting import METHODS, Segmenter
from encoder.boundaries import load_boundaries
from encoder.embed import embed_video
from encoder.embeddings import Embeddings
from encoder.features.backbones import load_backbone, video_features
from encoder.features.statistics import FeatureStatistics
from encoder.features.video import name_of, probe
from encoder.folder import load_encoder
from training.errors import CootmartError
from training.loop import pick_device

AGREE = 0.05
"""share by which the length in a file's header may differ from what was decoded"""


@dataclass(frozen=True)
class Watched:
    """A video as the captioner sees it before it writes."""

    name: str
    duration: float
    """seconds"""
    features: np.ndarray
    """float32 (T, D), evenly spaced over the video"""
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()


class Captioner:
    """Writes the paragraph of a video: decode, describe the frames, find segments, embed them, write the sentences.

    >>> captioner = Captioner.from_pretrained("runs/demo/captioner")
    >>> captioner("holiday.mp4").text
    """

    def __init__(self, folder: str | Path, device: str | torch.device | None = None) -> None:
        """Load a captioner's model folder and the encoder inside it.

        Raises:
            CootmartError: ``folder`` is no captioner's model folder, or holds no encoder that can read videos.
        """
        folder, device = Path(folder), torch.device(device or pick_device())
        self.model, self.vocabulary, self.config = load_captioner(folder, device)
        if not (folder / "encoder").is_dir():
            raise CootmartError(
                f"{folder}: no folder `encoder`, so it captions embeddings but no video files; "
                "train with data.encoder=ENCODER_FOLDER, or use `cootmart caption --embeddings`"
            )
        self.encoder, self.encoder_config = load_encoder(folder / "encoder", device)
        self.backbone = load_backbone(self.encoder_config.features.backbone)
        self.segmenter = Segmenter(self.config.data, load_boundaries(folder / "encoder"))
        self.statistics = FeatureStatistics.load(folder / "encoder")

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device | None = None) -> Captioner:
        """The captioner in ``folder``; see `Captioner`."""
        return cls(folder, device)

    def __call__(
        self,
        video: str | Path,
        segments: str | Path | Sequence[Segment] = "auto",
        count: int | None = None,
        seconds: float | None = None,
        decoding: DecodingOptions | None = None,
    ) -> Paragraph:
        """The paragraph of ``video``, one sentence a segment.

        Args:
            video: any file, or URL, that FFmpeg reads.
            segments: (start, end) pairs in seconds; or a file that `captioner.segments.read_segments` reads; or how to
                find them, one of `cootmart.segmenting.METHODS`.
            count: split evenly into so many segments instead.
            seconds: split evenly into segments of about this length instead.
            decoding: how sentences are chosen; as the model was trained by default, that is greedily.

        Raises:
            CootmartError: the file is missing or no video, or a segment is outside it.
        """
        return self.paragraphs([self.watch(video, segments, count, seconds)], decoding)[0]

    def stream(
        self,
        video: str | Path,
        segments: str | Path | Sequence[Segment] = "auto",
        count: int | None = None,
        seconds: float | None = None,
        decoding: DecodingOptions | None = None,
    ) -> Iterator[Sentence]:
        """As a call, but yields each sentence as soon as it is written; the video has been watched before the first."""
        yield from self.write(self.watch(video, segments, count, seconds), decoding)

    def watch(
        self,
        video: str | Path,
        segments: str | Path | Sequence[Segment] = "auto",
        count: int | None = None,
        seconds: float | None = None,
        on_frame: Callable[[float], None] | None = None,
    ) -> Watched:
        """Decode and describe a video and find its segments; several threads may watch at a time.

        Args:
            on_frame: called with the time in seconds of every frame as it comes; what it raises ends the reading. The
                other arguments are those of `__call__`.
        """
        features = video_features(video, self.backbone, self.encoder_config.features.fps, on_frame)
        self._require_width(video, features)
        duration = self._duration(video, len(features))
        parts = self._segments(video, features, duration, segments, count, seconds)
        odd = self.statistics and self.statistics.oddity(features)
        warning = f"the frame features are foreign: {odd}; is this the kind of video the model was trained on?"
        return Watched(name_of(video), duration, features, tuple(parts), (warning,) if odd else ())

    def write(self, watched: Watched, decoding: DecodingOptions | None = None) -> Iterator[Sentence]:
        """Embed a watched video and yield its sentences as they are made."""
        texts = stream_captions(self.model, self.vocabulary, self.config, self._embed(watched), decoding)
        for part, (text, *others) in zip(watched.segments, texts, strict=True):
            yield Sentence(*part, text, tuple(others))

    def paragraphs(self, watched: Sequence[Watched], decoding: DecodingOptions | None = None) -> list[Paragraph]:
        """The paragraphs of watched videos, written at the same time: much faster than one after the other."""
        embeddings = [self._embed(each) for each in watched]
        texts = caption_together(self.model, self.vocabulary, self.config, embeddings, decoding)
        return [paragraph_of(*pair) for pair in zip(watched, texts, strict=True)]

    def _embed(self, watched: Watched) -> Embeddings:
        return embed_video(
            self.encoder, self.encoder_config, watched.features, watched.duration, watched.segments, watched.name
        )

    def _require_width(self, video: str | Path, features: np.ndarray) -> None:
        if features.shape[1] != self.encoder_config.model.video_dim:
            raise CootmartError(
                f"{video}: backbone {self.backbone.name!r} gives features {features.shape[1]} wide, but the encoder "
                f"reads {self.encoder_config.model.video_dim}; its config.yaml names another backbone than it was "
                "trained with"
            )

    def _duration(self, video: str | Path, count: int) -> float:
        """What the header tells, or the length of what could be decoded where the file holds less or more."""
        rate = self.encoder_config.features.fps
        told, found = probe(video).duration, count / rate
        return told if abs(told - found) <= 1.5 / rate + AGREE * found else found

    def _segments(
        self,
        video: str | Path,
        features: np.ndarray,
        duration: float,
        segments: str | Path | Sequence[Segment],
        count: int | None,
        seconds: float | None,
    ) -> list[Segment]:
        if count is not None:
            return uniform(duration, count)
        if seconds is not None:
            return by_length(duration, seconds)
        if isinstance(segments, str) and segments in METHODS:
            return self.segmenter(segments, video, features, duration)
        if isinstance(segments, str | Path):
            return read_segments(segments, duration, name_of(video))
        if not len(segments):
            raise CootmartError(f"{video}: found no segments, expected at least one (start, end) in seconds")
        return check_segments(segments, duration)


def paragraph_of(watched: Watched, texts: Sequence[Sequence[str]]) -> Paragraph:
    """The sentences of a watched video, with warnings where they are nearly alike or its features are foreign.

    Args:
        texts: of every segment its sentence, and other ways to say it behind.
    """
    pairs = zip(watched.segments, texts, strict=True)
    sentences = tuple(Sentence(*part, text, tuple(others)) for part, (text, *others) in pairs)
    same = alike(sentences)
    return Paragraph(watched.name, sentences, (*watched.warnings, same) if same else watched.warnings)
