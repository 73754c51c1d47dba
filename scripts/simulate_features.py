"""Frame features for a data set whose real ones cannot be had: full size, and they tell a little of what happens.

    cootmart convert youcook2 youcookii_annotations_trainval.json --out data/sim/meta_all.json
    cootmart features text data/sim/meta_all.json --encoder minilm --out data/sim/words.h5
    python scripts/simulate_features.py data/sim/meta_all.json data/sim/words.h5 --out data/sim/frames.h5

Times and sentences are the real ones. A frame is a fixed random projection of its segment's sentence (the mean of its
word features in 32 principal directions, blurred a clip so that it cannot be inverted exactly), of the video's topic,
and of slowly drifting noise. Same seed, same file.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from encoder.data.meta import Video, load_meta
from encoder.features.store import write_features
from encoder.features.text import WordFeatures

DIRECTIONS = 32
BLUR = 1.6
"""noise of a clip that no other clip of the same sentence shares, in deviations of the content"""
SHARED = 0.3
"""correlation of that noise among the clips of a video"""
DRIFT, NOISE = 0.8, 0.7


@dataclass(frozen=True)
class Sentences:
    """Sentences as points in the principal directions of the training sentences."""

    mean: np.ndarray  # (D,)
    axes: np.ndarray  # (DIRECTIONS, D)
    scale: float

    @classmethod
    def of(cls, train: np.ndarray) -> Sentences:
        """Principal directions of sentence vectors (n, D)."""
        centred = train - train.mean(0)
        axes = np.linalg.svd(centred, full_matrices=False)[2][:DIRECTIONS]
        return cls(train.mean(0), axes, float((centred @ axes.T).std(0).mean()))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """(n, D) -> (n, DIRECTIONS), about unit variance."""
        return (vectors - self.mean) @ self.axes.T / self.scale


def drifting(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    """Unit-variance noise (n, dim) in which neighbouring frames are alike."""
    noise = rng.standard_normal((n, dim))
    for t in range(1, n):
        noise[t] = DRIFT * noise[t - 1] + math.sqrt(1 - DRIFT**2) * noise[t]
    return noise


class Simulator:
    """Makes the frames of one video after the other."""

    def __init__(self, sentences: Sentences, dim: int, fps: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sentences, self.dim, self.fps = sentences, dim, fps
        self.content, self.topic = self.rng.standard_normal((2, DIRECTIONS, dim)) / math.sqrt(DIRECTIONS)

    def __call__(self, video: Video, vectors: np.ndarray) -> np.ndarray:
        """Sentence vectors of a video (n, D) -> float16 (frames, dim)."""
        normal, content = self.rng.standard_normal, self.sentences(vectors)
        n = max(1, math.ceil(video.duration * self.fps))
        frames = np.tile((content.mean(0) + normal(DIRECTIONS)) @ self.topic, (n, 1))  # (n, dim)
        of_video = normal(DIRECTIONS)
        for part, segment in zip(content, video.segments, strict=True):
            blur = SHARED * of_video + math.sqrt(1 - SHARED**2) * normal(DIRECTIONS)
            first = min(n - 1, int(segment.start_sec * self.fps))
            last = min(n, max(first + 1, math.ceil(segment.stop_sec * self.fps)))
            strength = np.hanning(last - first + 2)[1:-1].clip(0.3) * 1.5  # a step is clearest in its middle
            frames[first:last] += strength[:, None] * ((part + BLUR * blur) @ self.content)
        return (frames + NOISE * drifting(self.rng, n, self.dim)).astype(np.float16)


def sentence_vectors(words: WordFeatures, video: Video) -> np.ndarray:
    """Mean of the word features of each sentence (n, D)."""
    return np.stack([sentence.mean(0, dtype=np.float32) for sentence in words.read(video.key)[1]])


def simulate(videos: list[Video], words: WordFeatures, dim: int, fps: float, seed: int) -> Iterator[tuple]:
    """``(data key, frames)`` of every video."""
    train = [sentence_vectors(words, video) for video in videos if video.split == "train"]
    simulator = Simulator(Sentences.of(np.concatenate(train)), dim, fps, seed)
    for video in videos:
        yield video.data_key, simulator(video, sentence_vectors(words, video))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meta", type=Path, help="meta_all.json")
    parser.add_argument("words", type=Path, help="word features of the same videos")
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    videos = load_meta(args.meta)
    words = WordFeatures(args.words)
    words.require(videos)
    write_features(args.out, simulate(videos, words, args.dim, args.fps, args.seed))
    print(f"{args.out}: {len(videos)} videos, {sum(len(video.segments) for video in videos)} segments")


if __name__ == "__main__":
    main()
