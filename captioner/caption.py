"""Writing paragraphs for whole sets of videos whose clip features are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from captioner.config import CaptionerConfig, DecodingOptions
from captioner.data import Item, clip_tokens, collate
from captioner.decoding import generate, write_steps
from captioner.folder import load_captioner
from captioner.models import Captioner
from captioner.submission import submission
from captioner.vocabulary import Vocabulary
from encoder.embeddings import Embeddings
from training.errors import CootmartError
from training.loop import pick_device

VIDEOS_AT_ONCE = 50


def caption_items(
    model: Captioner,
    vocabulary: Vocabulary,
    items: Sequence[Item],
    options: DecodingOptions,
    batch_size: int = VIDEOS_AT_ONCE,
) -> dict[str, list[str]]:
    """Sentences of each video. Videos with equally many sentences are written together."""
    device = next(model.parameters()).device
    order = sorted(items, key=lambda item: -len(item.text))
    texts = {}
    for start in range(0, len(order), batch_size):
        batch = collate(order[start : start + batch_size]).to(device)
        paragraphs = generate(model, batch, options)
        texts |= {
            name: [vocabulary.decode(words) for words in sentences]
            for name, sentences in zip(batch.names, paragraphs, strict=True)
        }
    return {item.annotation.name: texts[item.annotation.name] for item in items}


def caption_embeddings(
    model: Captioner,
    vocabulary: Vocabulary,
    config: CaptionerConfig,
    embeddings: Embeddings,
    decoding: DecodingOptions | None = None,
) -> dict[str, list[str]]:
    """One sentence for every clip of every video in ``embeddings``.

    Args:
        decoding: how sentences are chosen; as in ``config`` by default.

    Raises:
        CootmartError: the embeddings have another width than the model was trained on.
    """
    return caption_items(model, vocabulary, _items(config, embeddings), decoding or config.decoding)


def stream_captions(
    model: Captioner,
    vocabulary: Vocabulary,
    config: CaptionerConfig,
    embeddings: Embeddings,
    decoding: DecodingOptions | None = None,
) -> Iterator[list[str]]:
    """Write the sentences of the one video in ``embeddings`` and yield each as soon as it is made.

    Yields:
        For every clip its sentence, and with beam search up to ``n_best`` - 1 other ways to say it behind.

    Raises:
        CootmartError: as `caption_embeddings`.
    """
    batch = collate(_items(config, embeddings)).to(next(model.parameters()).device)
    for step in write_steps(model, batch, decoding or config.decoding):
        yield from (_texts(vocabulary, hypotheses) for hypotheses in step)


def caption_together(
    model: Captioner,
    vocabulary: Vocabulary,
    config: CaptionerConfig,
    embeddings: Sequence[Embeddings],
    decoding: DecodingOptions | None = None,
) -> list[list[list[str]]]:
    """As `stream_captions` for several videos at a time, each in embeddings of its own: for each what that yields."""
    items = [item for each in embeddings for item in _items(config, each)]
    batch = collate(items).to(next(model.parameters()).device)
    steps = write_steps(model, batch, decoding or config.decoding)
    return batch.by_video([_texts(vocabulary, hypotheses) for step in steps for hypotheses in step])


def _texts(vocabulary: Vocabulary, hypotheses: Sequence[Sequence[int]]) -> list[str]:
    """Different texts, best first: hypotheses may differ in special tokens alone."""
    return list(dict.fromkeys(map(vocabulary.decode, hypotheses)))


def _items(config: CaptionerConfig, embeddings: Embeddings) -> list[Item]:
    """The videos of ``embeddings`` that have clips."""
    kind, expected = config.data.features, config.model.video_feature_size
    items = [Item.without_text(key, clip_tokens(embeddings, key, kind)) for key in embeddings.keys]
    items = [item for item in items if item.features]
    found = items[0].features[0].shape[-1] if items else expected
    if found != expected:
        raise CootmartError(
            f"{embeddings.path}: features `{kind}` are {found} wide, the captioner expects {expected}; "
            "were they made by the encoder it was trained with?"
        )
    return items


def caption_file(
    model_folder: str | Path, embeddings: str | Path, decoding: DecodingOptions | None = None
) -> dict[str, Any]:
    """The submission with the captions of every video in an embeddings file; see `caption_embeddings`."""
    model, vocabulary, config = load_captioner(model_folder, pick_device())
    return submission(caption_embeddings(model, vocabulary, config, Embeddings.load(embeddings), decoding))
