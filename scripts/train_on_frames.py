"""Both stages on real pictures: a folder of annotated frames in, retrieval and caption scores out.

FOLDER holds ``index.json``, ``{video: {"split": "train" | "val", "segments": [{"frame", "text"}, ...]}}``, and the
pictures that it names. Each picture stands for its segment, in a few views (whole, mirrored, two crops). A second
captioner is trained on the same embeddings dealt out to the wrong clips: what it reaches needs no picture at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import h5py
import numpy as np
from PIL import Image, ImageOps

from captioner.config import CaptionerConfig
from captioner.train import train as train_captioner
from cootmart.cli import parse
from encoder.config import EncoderConfig
from encoder.data.meta import Segment, Video, load_meta, save_meta
from encoder.embed import embed_split
from encoder.features.backbones import load_backbone
from encoder.features.store import write_features
from encoder.features.text import write_word_features
from encoder.features.words import load_words
from encoder.train import train as train_encoder
from evaluation import Scorer
from training import config as configuration
from training.errors import CootmartError
from training.files import read_json
from training.progress import track

VIEWS = 4
SIDE = 256
SPLITS = ("train", "val")


@dataclass(frozen=True)
class FramesConfig:
    """Configurations of both stages."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    captioner: CaptionerConfig = field(default_factory=CaptionerConfig)


def views(path: Path) -> np.ndarray:
    """A picture as (VIEWS, SIDE, SIDE, 3) uint8: whole, mirrored, and two crops of four fifths."""
    try:
        picture = Image.open(path).convert("RGB")
    except OSError as error:
        raise CootmartError(f"{path}: cannot be read as a picture ({error})") from None
    width, height = picture.size
    left = picture.crop((0, height // 10, width * 4 // 5, height * 9 // 10))
    right = picture.crop((width // 5, height // 10, width, height * 9 // 10))
    every = (picture, ImageOps.mirror(picture), left, ImageOps.mirror(right))
    return np.stack([np.asarray(view.resize((SIDE, SIDE))) for view in every])


def to_meta(index: dict) -> list[Video]:
    """The annotations on a time line of one second a view, so that segment i has the frames of picture i."""
    return [
        Video(
            key,
            key,
            entry["split"],
            float(VIEWS * len(entry["segments"])),
            tuple(
                Segment(s["text"], float(VIEWS * i), float(VIEWS * (i + 1))) for i, s in enumerate(entry["segments"])
            ),
        )
        for key, entry in index.items()
    ]


def described(folder: Path, index: dict, backbone: str) -> Iterator[tuple[str, np.ndarray]]:
    """Frame features of every video."""
    describe = load_backbone(backbone).describe
    for key, entry in track(index.items(), "frame features", len(index)):
        yield key, np.concatenate([describe(views(folder / s["frame"])) for s in entry["segments"]])


def shuffle_clips(source: Path, target: Path, seed: int) -> None:
    """Copy an embeddings file with clips and videos dealt out anew."""
    rng = np.random.default_rng(seed)
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        videos, clips = rng.permutation(len(old["vid_emb"])), rng.permutation(len(old["clip_emb"]))
        orders = {"vid_emb": videos, "vid_context": videos, "clip_emb": clips}
        for name in ("key", "clip_num"):
            old.copy(name, new)
        for name, order in orders.items():
            new[name] = old[name][:][order]


def place(config: FramesConfig, out: Path, backbone: str, words: str) -> FramesConfig:
    """The configuration with every file in ``out``."""
    meta = str(out / "meta_all.json")
    data = replace(
        config.encoder.data, meta=meta, video_features=str(out / "frames.h5"), text_features=str(out / "words.h5")
    )
    encoder = replace(
        config.encoder, data=data, features=replace(config.encoder.features, backbone=backbone, words=words)
    )
    return FramesConfig(encoder, replace(config.captioner, data=replace(config.captioner.data, meta=meta)))


def train_on(config: CaptionerConfig, out: Path, embeddings: list[Path]) -> dict[str, float]:
    """Train a captioner and score its validation paragraphs with every metric."""
    train, val = map(str, embeddings)
    history = train_captioner(
        replace(config, data=replace(config.data, train_embeddings=train, val_embeddings=val)), out
    )
    best = [record["epoch"] for record in history if record.get("best")][-1]
    truth = {
        video.key: " ".join(segment.text for segment in video.segments)
        for video in load_meta(config.data.meta)
        if video.split == "val"
    }
    with Scorer([truth]) as scorer:
        return scorer.score(read_json(out / "captions" / f"val_{best}.json")).metrics


def run(args: argparse.Namespace) -> None:
    """The whole pipeline."""
    out, index = args.out, read_json(args.folder / "index.json")
    config = place(configuration.load(FramesConfig, args.config, args.overrides), out, args.backbone, args.words)
    videos = to_meta(index)
    save_meta(out / "meta_all.json", videos)
    write_features(out / "frames.h5", described(args.folder, index, args.backbone))
    write_word_features(out / "words.h5", videos, load_words(args.words))
    train_encoder(config.encoder, out / "encoder")
    files = [out / f"embeddings_{split}.h5" for split in SPLITS]
    retrieval = [embed_split(out / "encoder", split, path) for split, path in zip(SPLITS, files, strict=True)][1]
    wrong = [path.with_stem(f"{path.stem}_shuffled") for path in files]
    for seed, (path, target) in enumerate(zip(files, wrong, strict=True)):
        shuffle_clips(path, target, seed)
    scores = train_on(config.captioner, out / "captioner", files)
    chance = train_on(config.captioner, out / "captioner_shuffled", wrong)
    show(retrieval, scores, chance, [v for v in videos if v.split == "val"])


def show(retrieval: dict, scores: dict, chance: dict, val: list[Video]) -> None:
    """Print both tables."""
    clips = sum(len(video.segments) for video in val)
    print(f"\nretrieval, {len(val)} validation videos, {clips} clips (%)        R@1   R@5  R@10   chance R@1/5/10")
    for name, count in (("vid2par", len(val)), ("par2vid", len(val)), ("cli2sen", clips), ("sen2cli", clips)):
        found = "".join(f"{100 * retrieval[f'{name}-r{k}']:6.1f}" for k in (1, 5, 10))
        print(f"{name:50}{found}   {'/'.join(f'{min(100, 100 * k / count):.1f}' for k in (1, 5, 10))}")
    print(f"\n{'captions of the validation videos (x100)':50}{'right clips':>14}{'shuffled clips':>16}")
    for name in ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re4"):
        print(f"{name:50}{100 * scores[name]:14.2f}{100 * chance[name]:16.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with index.json and its pictures")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change options, e.g. encoder.loop.epochs=5")
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--config", type=Path, default=Path(__file__).resolve().parent.parent / "configs/frames.yaml")
    parser.add_argument("--backbone", default="efficientnet_lite0", help="of the pictures (default: %(default)s)")
    parser.add_argument("--words", default="minilm", help="text encoder (default: %(default)s)")
    try:
        run(parse(parser))
    except CootmartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
