"""How sure a score is: bootstrap intervals over videos, and a paired permutation test of two systems.

Everything works on counts a video, (V, k): a score of the corpus is a formula of their sum, so a corpus of other
videos, or of videos of two systems mixed, is a matrix product away and exact, also for BLEU and METEOR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.card import ScoreCard
from evaluation.meteor import meteor_score
from evaluation.ngrams import bleu_score

DRAWS = 2000
LEVEL = 0.95
TOLERANCE = 1e-12  # differences smaller than this are rounding, not evidence

Counts = Mapping[str, np.ndarray]


def counts_of(card: ScoreCard) -> dict[str, np.ndarray]:
    """Counts (V, k) of every metric of ``card`` that exists for one video alone, in the order of ``card.per_video``.

    A mean over videos has the counts (value, 1), or (0, 0) for a video that is not in it.
    """
    counts = dict(card.counts_per_video)
    videos = list(card.per_video.values())
    for name in videos[0] if videos else ():
        if _family(name) not in counts:
            values = np.array([each[name] for each in videos])
            counts[name] = np.stack([np.nan_to_num(values), np.isfinite(values)], axis=1)
    return counts


def has_counts(metric: str, counts: Counts) -> bool:
    """Whether ``metric`` can be computed from ``counts``."""
    return _family(metric) in counts


def counts_for(metric: str, counts: Counts) -> np.ndarray:
    """The counts (V, k) that ``metric`` is computed from."""
    return counts[_family(metric)]


def score(metric: str, sums: np.ndarray) -> np.ndarray:
    """Score (...) of ``metric`` from summed counts (..., k): BLEU and METEOR by their formulas, others as a ratio."""
    if _family(metric) == "Bleu":
        return bleu_score(sums)[..., int(metric[-1]) - 1]
    if metric == "METEOR":
        return meteor_score(sums)
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros(sums.shape[:-1]), where=sums[..., 1] != 0)


def _family(metric: str) -> str:
    return "Bleu" if metric.startswith("Bleu_") else metric


def resamples(videos: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each video is in each of ``draws`` corpora of as many videos, (draws, V); the same at every call."""
    random = np.random.default_rng(seed)
    return random.multinomial(videos, np.full(videos, 1 / videos), draws).astype(np.float64)


def bootstrap(metric: str, runs: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Scores (draws,) of resampled corpora, each the mean over the runs (seeds) of one system.

    Args:
        runs: counts (V, k) of each run.
        weights: of `resamples`; the same for two systems makes their difference a paired one.
    """
    return np.mean([score(metric, weights @ counts) for counts in runs], axis=0)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrapped ``values``."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def permutation_p(
    metric: str, a: Sequence[np.ndarray], b: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0
) -> float:
    """How often systems that are the same differ as much as ``a`` and ``b``: two-sided p of a paired permutation test.

    Which of the two wrote a video is drawn anew for every video (approximate randomisation, Riezler and Maxwell 2005);
    all seeds of a video go together. Smallest p: 1 / (draws + 1).

    Args:
        a, b: counts (V, k) of the runs of each system, as many of one as of the other.
    """
    videos = len(a[0])
    swapped = np.random.default_rng(seed).integers(0, 2, (draws, videos)).astype(np.float64)
    observed, drawn = 0.0, np.zeros(draws)
    for one, other in zip(a, b, strict=True):
        moved = swapped @ (other - one)  # (draws, k)
        observed += float(score(metric, one.sum(0)) - score(metric, other.sum(0)))
        drawn += score(metric, one.sum(0) + moved) - score(metric, other.sum(0) - moved)
    as_far = np.abs(drawn) >= abs(observed) - TOLERANCE
    return float((1 + as_far.sum()) / (draws + 1))


def holm(values: Sequence[float]) -> list[float]:
    """p values of several comparisons, adjusted so that all of them together are wrong as rarely as one (Holm 1979)."""
    adjusted, largest = [0.0] * len(values), 0.0
    for done, i in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        largest = max(largest, min(1.0, (len(values) - done) * values[i]))
        adjusted[i] = largest
    return adjusted
