"""Which parts of a video get a sentence, found in its frame features, without annotations of the video.

Both searches are exact dynamic programmes over frames. They look back no farther than the longest plausible segment, so
that time and memory grow with the length of the video and not with its square.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from captioner.segments import Segment
from training.errors import CootmartError

SPREAD = 3.0
"""standard deviations of the log length beyond which a segment is not looked for"""
NARROWEST = 0.05
"""least standard deviation of lengths, as a share of their mean"""
CHANGE_WEIGHT = 0.2
"""of the scatter within segments against the length prior in `change_points`; chosen on held-out training videos"""
SEGMENT_COST = 2.0
"""of a segment of usual length in `likeliest_segments`, in nats; chosen on held-out training videos"""

Scores = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class LengthPrior:
    """A log-normal density of segment lengths in seconds, from their mean and standard deviation in training.

    Raises:
        CootmartError: the mean is not positive or the deviation is negative.
    """

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not self.mean > 0 or not self.deviation >= 0:
            raise CootmartError(
                f"length of segments: found mean {self.mean} and deviation {self.deviation} seconds, expected a mean "
                "above 0 and a deviation of at least 0"
            )

    @property
    def sigma(self) -> float:
        """Standard deviation of the log length."""
        return math.sqrt(math.log1p(max(self.deviation / self.mean, NARROWEST) ** 2))

    @property
    def longest(self) -> float:
        """Seconds; longer segments are not looked for."""
        return math.exp(self._mu + SPREAD * self.sigma)

    def strangeness(self, seconds: np.ndarray) -> np.ndarray:
        """Half the squared distance of log lengths (n,) from that of the mean, in standard deviations -> (n,).

        It is 0 at the mean. Minus a log density in its place would make any segment so dear that features which say
        little were cut into few, far too long ones: of all cuts that say so, each is unlikely.
        """
        return 0.5 * (np.log(seconds / self.mean) / self.sigma) ** 2

    @property
    def _mu(self) -> float:
        return math.log(self.mean) - self.sigma**2 / 2


def change_points(
    features: np.ndarray, duration: float, prior: LengthPrior, weight: float = CHANGE_WEIGHT
) -> list[Segment]:
    """Cut a whole video where its features change: kernel temporal segmentation (Potapov et al. 2014).

    Minimises the scatter of the features within segments, ``sum ||x_t - mean||^2`` (a linear kernel), in units of the
    video's own variance and times ``weight``, plus 1 and the strangeness of its length for each segment, in place of
    the number of segments that the original penalises.

    Args:
        features: (T, D), evenly spaced over ``duration`` seconds.
        prior: lengths to expect.
        weight: of the features against the prior; 0 splits evenly.

    Returns:
        Segments that cover the video without gaps.
    """
    x = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])  # (T + 1, D)
    squares = np.concatenate([[0.0], np.cumsum(np.einsum("td,td->t", x, x))])  # (T + 1,)
    variance = squares[-1] / len(x) or 1.0
    penalty = 1 + prior.strangeness(_lengths(len(x), duration, prior))

    def scores(first: int, stop: int) -> np.ndarray:
        lengths = np.arange(stop - first, 0, -1)
        step = sums[stop] - sums[first:stop]
        scatter = squares[stop] - squares[first:stop] - np.einsum("td,td->t", step, step) / lengths
        return -penalty[lengths - 1] - weight * scatter / variance

    return _seconds(best_segments(len(x), len(penalty), scores, gaps=False), len(x), duration)


def likeliest_segments(log_odds: np.ndarray, duration: float, prior: LengthPrior) -> list[Segment]:
    """The segments that frame-wise judgements and the length prior make likeliest together: a semi-Markov model.

    A segment scores the log odds of its frames to be inside, of its first to be a start, of its last to be an end, less
    `SEGMENT_COST` and the strangeness of its length; a frame between segments scores 0.

    Args:
        log_odds: (T, 3) of each frame being inside a segment, the first of one, the last of one; the latter two against
            those of any frame, since the length prior tells already how often segments start.

    Returns:
        Segments in order that do not overlap; frames may lie between them. At least one.
    """
    inside, starts, ends = log_odds.astype(np.float64).T
    total = np.concatenate([[0.0], np.cumsum(inside)])  # (T + 1,)
    cost = SEGMENT_COST + prior.strangeness(_lengths(len(log_odds), duration, prior))

    def scores(first: int, stop: int) -> np.ndarray:
        shorter = cost[: stop - first][::-1]
        return total[stop] - total[first:stop] + starts[first:stop] + ends[stop - 1] - shorter

    found = best_segments(len(log_odds), len(cost), scores, gaps=True)
    return _seconds(found or [(0, len(log_odds))], len(log_odds), duration)


def f1_score(found: Sequence[Segment], annotated: Sequence[Segment], overlap: float) -> float:
    """Harmonic mean of the shares of found and of annotated segments that have a partner in the other list.

    Partners overlap in time by at least ``overlap``, as intersection over union (tIoU).
    """
    one, other = np.array(found)[:, None], np.array(annotated)[None]  # (F, 1, 2), (1, A, 2)
    intersection = np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0])
    union = np.maximum(one[..., 1], other[..., 1]) - np.minimum(one[..., 0], other[..., 0])
    partners = np.maximum(intersection, 0) / union >= overlap - 1e-9
    precision, recall = partners.any(1).mean(), partners.any(0).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def best_segments(count: int, longest: int, scores: Scores, gaps: bool) -> list[tuple[int, int]]:
    """The segments of frames 0 .. ``count`` with the highest sum of scores.

    Args:
        longest: most frames of a segment.
        scores: (first, stop) -> scores of the segments from ``first .. stop - 1`` to ``stop`` (not included).
        gaps: frames may lie in no segment; else the segments cover all frames.
    """
    best, back = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    for stop in range(1, count + 1):
        first = max(0, stop - longest)
        totals = best[first:stop] + scores(first, stop)
        place = int(totals.argmax())
        best[stop], back[stop] = totals[place], first + place
        if gaps and best[stop - 1] >= best[stop]:
            best[stop], back[stop] = best[stop - 1], -1
    return _trace(back)


def _trace(back: np.ndarray) -> list[tuple[int, int]]:
    found, stop = [], len(back) - 1
    while stop > 0:
        if back[stop] >= 0:
            found.append((int(back[stop]), stop))
        stop = int(back[stop]) if back[stop] >= 0 else stop - 1
    return found[::-1]


def _lengths(count: int, duration: float, prior: LengthPrior) -> np.ndarray:
    """Seconds of segments of 1, 2, ... frames, as long as they are plausible."""
    seconds = duration / count
    longest = min(count, max(1, math.ceil(prior.longest / seconds)))
    return np.arange(1, longest + 1) * seconds


def _seconds(found: Sequence[tuple[int, int]], count: int, duration: float) -> list[Segment]:
    return [(first * duration / count, stop * duration / count) for first, stop in found]
