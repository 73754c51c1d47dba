"""The result of an evaluation, with everything one must know to compare it with another."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.files import write_bytes

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Group

# Metric, its name in the published tables, and its factor there.
ROWS = (
    *((f"Bleu_{n}", f"B@{n}", 100.0) for n in range(1, 5)),
    ("METEOR", "METEOR", 100.0),
    ("ROUGE_L", "ROUGE-L", 100.0),
    ("CIDEr", "CIDEr-D", 100.0),
    *((f"re{n}", f"R@{n} (lower is better)", 100.0) for n in range(1, 5)),
    *((f"div{n}", f"Div@{n}", 100.0) for n in range(1, 5)),
    ("submission_vocab_size", "vocabulary", 1.0),
    ("submission_avg_sen_len", "tokens a sentence", 1.0),
    ("submission_num_sen", "sentences", 1.0),
    ("unique", "distinct sentences, %", 100.0),
    ("novel", "sentences not in training, %", 100.0),
)
GROUPS = {
    "Bleu": ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"),
    "repetition": ("re1", "re2", "re3", "re4", "div1", "div2", "div3", "div4"),
    "statistics": ("submission_vocab_size", "submission_avg_sen_len", "submission_num_sen", "unique", "novel"),
}


@dataclass(frozen=True)
class ScoreCard:
    """Scores of one submission.

    Attributes:
        metrics: unscaled, under the names that the published code gives them: ``Bleu_1``..``Bleu_4``, ``METEOR``,
            ``ROUGE_L``, ``CIDEr`` (CIDEr-D, with its factor of 10), ``re1``..``re4``, ``div1``..``div4``,
            ``submission_*``, ``gt_stat_*``, ``unique``, ``novel``. What could not be computed is not in it.
        not_run: metric (or group of metrics) to the reason why it is not in ``metrics``.
        counts: ``videos`` in the references, of these ``evaluated`` (with a prediction) and ``missing`` (scored as
            empty), ``extra`` predictions that no reference knows (ignored). As published: ``num_pred`` predicted
            videos, ``num_gt`` videos of the first set, ``num_evaluated`` videos in the means of R@n.
        missing, extra: the videos themselves.
        split: which videos these are, for example ``ae-test``.
        level: ``paragraph``, or ``sentence`` where each sentence is compared with the reference of its segment.
        ids: ``robust`` or ``official``: how predictions find their references.
        per_video: the metrics that exist for one video (or sentence) alone.
        counts_per_video: ``Bleu`` (V, 10) and ``METEOR`` (V, 23), in the order of ``per_video``: of these two the score
            of a corpus is no mean over videos but a formula of summed counts (see `evaluation.significance`). Not in
            the JSON.
    """

    metrics: Mapping[str, float]
    counts: Mapping[str, int]
    not_run: Mapping[str, str]
    split: str
    level: str
    ids: str
    references: Sequence[Mapping[str, Any]]
    predictions: Mapping[str, str]
    tokenization: str
    versions: Mapping[str, str]
    missing: Sequence[str] = ()
    extra: Sequence[str] = ()
    per_video: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    counts_per_video: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether every metric that was asked for is there."""
        return not self.not_run

    def to_json(self) -> str:
        """Everything as JSON text; a number that is not finite is null."""
        return json.dumps(_finite(self.to_dict()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Everything but the counts of each video."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "counts_per_video"}

    def save(self, path: str | Path) -> None:
        """Write `to_json` to ``path``, whole or not at all."""
        write_bytes(path, self.to_json().encode("utf-8"))

    def table(self) -> Group:
        """For ``rich.print``: scores as in the published tables (x100, two decimals), and what they are of."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.split}, {self.level} level", title_justify="left")
        table.add_column("metric")
        table.add_column("score", justify="right")
        for name, label, factor in ROWS:
            if name in self.metrics:
                table.add_row(label, _number(self.metrics[name] * factor))
            elif name in self.not_run:
                table.add_row(label, "not run", style="bold red")
        for group, names in GROUPS.items():
            if group in self.not_run and not any(name in self.metrics for name in names):
                table.add_row(group, "not run", style="bold red")
        # Text, because names of files may hold what rich takes for mark-up.
        return Group(table, *(Text(line, style=style) for line, style in self._notes()))

    def _notes(self) -> list[tuple[str, str]]:
        counts = self.counts
        notes = [(f"{counts['videos']} videos, {counts['evaluated']} of them with a prediction", "")]
        if counts["missing"]:
            notes.append((f"{counts['missing']} missing (scored as empty): {_some(self.missing)}", "bold yellow"))
        if counts["extra"]:
            notes.append((f"{counts['extra']} without a reference (ignored): {_some(self.extra)}", "bold yellow"))
        for kind in ("missing", "extra"):
            if number := counts.get(f"{kind}_sentences"):
                notes.append((f"{number} {kind} sentences in the videos with a prediction", "bold yellow"))
        notes += [
            (f"references: {reference['name']}, {reference['videos']} videos", "") for reference in self.references
        ]
        notes.append((f"predictions: {self.predictions['name']}; ids {self.ids}; tokens: {self.tokenization}", ""))
        return notes + [(f"{name} not run: {reason}", "bold red") for name, reason in self.not_run.items()]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.0f}" if value >= 1000 else f"{value:.2f}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
