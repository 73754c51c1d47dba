"""How well segments are found without annotations: F1 against the annotated ones, and the paragraphs they lead to.

python scripts/bench_segmentation.py --meta runs/demo/data/meta_all.json --features runs/demo/features/frames.h5 \
    --videos runs/demo/data/videos --model runs/demo/mart --references runs/demo/data/captions_val_{1,2,3}.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from captioner.caption import caption_items
from captioner.config import DataConfig, DecodingOptions
from captioner.data import Annotation, Item, clip_tokens
from captioner.segmentation import LengthPrior, change_points, f1_score
from captioner.segments import Segment
from captioner.train import segment_lengths
from cootmart.pipeline import Captioner
from cootmart.segmenting import Segmenter
from encoder.boundaries import load_boundaries
from encoder.data.meta import Video, load_meta, select
from encoder.embed import embed_video
from encoder.features.store import open_features
from encoder.unseen import learn_from_videos
from evaluation import FAST_METRICS, Scorer
from training.files import read_json

OVERLAPS = (0.3, 0.5, 0.7, 0.9)


def main() -> None:
    args = _arguments()
    torch.set_num_threads(1)
    videos, frames = load_meta(args.meta), open_features(args.features)
    train = [v for v in select(videos, args.train_split, args.meta) if v.data_key in frames]
    held_out = [v for v in select(videos, args.split, args.meta) if v.data_key in frames][: args.most]
    segmenter = _learn(train, frames)
    captioner = Captioner(args.model, "cpu") if args.model else None
    references = [read_json(path) for path in args.references]
    mean = np.mean([len(v.segments) for v in held_out])
    print(f"{len(train)} training videos, {len(held_out)} of {args.split} with {mean:.2f} annotated segments each\n")
    print("| segments | " + " | ".join(f"F1 at {o:g}" for o in OVERLAPS) + " | number | ms a video | CIDEr-D |")
    print("|---|" + "---|" * (len(OVERLAPS) + 3))
    for name, find in _methods(segmenter, args.videos, args.weights).items():
        started = time.perf_counter()
        found = {v.key: find(v, frames.read(v.data_key).astype(np.float32)) for v in held_out}
        spent = time.perf_counter() - started
        scores = [100 * np.mean([f1_score(found[v.key], _given(v), o) for v in held_out]) for o in OVERLAPS]
        cells = [f"{score:.1f}" for score in scores]
        cells += [f"{np.mean([*map(len, found.values())]):.2f}", f"{1000 * spent / len(held_out):.1f}"]
        cells += [_cider(captioner, held_out, frames, found, references) if captioner else ""]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meta", required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--videos", type=Path, help="folder of KEY.mp4, for scene cuts")
    parser.add_argument("--model", type=Path, help="captioner's model folder, for the scores of paragraphs")
    parser.add_argument("--references", nargs="*", default=[])
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--split", default="val")
    parser.add_argument("--most", type=int, help="videos")
    parser.add_argument("--weights", type=float, nargs="*", default=[], help="of change points, to choose the default")
    return parser.parse_args()


def _learn(train: list[Video], frames) -> Segmenter:
    annotations = [Annotation(v.key, tuple(s.text for s in v.segments), tuple(_given(v))) for v in train]
    lengths = replace(DataConfig(), **segment_lengths(annotations))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        learn_from_videos(folder, train, frames)
        print(f"learnt from {len(train)} videos in {time.perf_counter() - started:.1f} s")
        return Segmenter(lengths, load_boundaries(folder))


def _given(video: Video) -> list[Segment]:
    return [(segment.start_sec, segment.stop_sec) for segment in video.segments]


def _methods(segmenter: Segmenter, folder: Path | None, weights: list[float]) -> dict:
    methods = {"given": lambda v, x: _given(v)}
    for name in ("uniform", "changes", "learnt"):
        methods[name] = lambda v, x, name=name: segmenter(name, "", x, v.duration)
    c = segmenter.lengths
    prior = LengthPrior(c.segment_seconds + c.segment_pause, c.segment_deviation)
    for weight in weights:
        methods[f"changes {weight:g}"] = lambda v, x, w=weight: change_points(x, v.duration, prior, w)
    if folder:
        methods["scenes"] = lambda v, x: segmenter("scenes", folder / f"{v.key}.mp4", x, v.duration)
    return methods


def _cider(captioner: Captioner, videos: list[Video], frames, found: dict, references: list[dict]) -> str:
    """CIDEr-D x 100 of the paragraphs written about the segments."""
    items = []
    for v in videos:
        features = frames.read(v.data_key).astype(np.float32)
        embeddings = embed_video(captioner.encoder, captioner.encoder_config, features, v.duration, found[v.key], v.key)
        items.append(Item.without_text(v.key, clip_tokens(embeddings, v.key, captioner.config.data.features)))
    texts = caption_items(captioner.model, captioner.vocabulary, items, DecodingOptions())
    kept = [{v.key: reference[v.key] for v in videos} for reference in references]
    with Scorer(kept, FAST_METRICS) as scorer:
        return f"{100 * scorer.score(texts).metrics['CIDEr']:.1f}"


if __name__ == "__main__":
    main()
