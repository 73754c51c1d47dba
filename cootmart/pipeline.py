"""The whole way from a video file to its paragraph, as one object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from captioner.caption import caption_embeddings
from captioner.decoding import DecodingOptions
from captioner.folder import load_captioner
from captioner.paragraph import Paragraph, Sentence
from captioner.segments import Segment, by_length, read_segments, uniform
from encoder.embed import embed_video
from encoder.features.backbones import load_backbone, video_features
from encoder.features.video import probe
from encoder.folder import load_encoder
from training.errors import CootmartError
from training.loop import pick_device


class Captioner:
    """Writes the paragraph of a video: decode, describe the frames, embed the segments, write the sentences.

    >>> captioner = Captioner.from_pretrained("runs/demo/captioner")
    >>> captioner("holiday.mp4", seconds=10).text
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

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device | None = None) -> Captioner:
        """The captioner in ``folder``; see `Captioner`."""
        return cls(folder, device)

    def __call__(
        self,
        video: str | Path,
        segments: str | Path | Sequence[Segment] | None = None,
        count: int | None = None,
        seconds: float | None = None,
        decoding: DecodingOptions | None = None,
    ) -> Paragraph:
        """The paragraph of ``video``, one sentence a segment.

        Args:
            video: any file that FFmpeg reads.
            segments: (start, end) pairs in seconds, or a file that `captioner.segments.read_segments` reads.
            count: split evenly into so many segments instead.
            seconds: split evenly into segments of about this length; without any of the three, the mean length
                of the segments that the captioner was trained on.
            decoding: how sentences are chosen; greedy by default.

        Raises:
            CootmartError: the file is missing or no video, or a segment is outside it.
        """
        features = video_features(video, self.backbone, self.encoder_config.features.fps)
        duration = probe(video).duration or len(features) / self.encoder_config.features.fps
        parts = self._segments(duration, segments, count, seconds)
        embeddings = embed_video(self.encoder, self.encoder_config, features, duration, parts, Path(video).name)
        texts = caption_embeddings(self.model, self.vocabulary, self.config, embeddings, decoding)[embeddings.keys[0]]
        sentences = (Sentence(*part, text) for part, text in zip(parts, texts, strict=True))
        return Paragraph(Path(video).name, tuple(sentences))

    def _segments(self, duration: float, segments, count: int | None, seconds: float | None) -> list[Segment]:
        if isinstance(segments, str | Path):
            return read_segments(segments, duration)
        if segments is not None:
            return list(segments)
        if count is not None:
            return uniform(duration, count)
        return by_length(duration, seconds or self.config.data.segment_seconds)
