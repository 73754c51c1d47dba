"""The result of a retrieval evaluation, with everything one must know to compare it with another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.files import write_bytes

if TYPE_CHECKING:
    from rich.console import Group

WAYS = {
    "vid2par": "video -> paragraph",
    "par2vid": "paragraph -> video",
    "cli2sen": "clip -> sentence",
    "sen2cli": "sentence -> clip",
}
FIELDS = (("r1", "R@1", 100.0), ("r5", "R@5", 100.0), ("r10", "R@10", 100.0), ("r50", "R@50", 100.0))
RANKS = (("medr", "MdR"), ("meanr", "MnR"))


@dataclass(frozen=True)
class RetrievalCard:
    """Scores of one embeddings file.

    Attributes:
        metrics: ``vid2par-r1`` ... ``sen2cli-meanr``: recalls as fractions; median (MdR) and mean (MnR) rank from 1.
        counts: ``videos`` and ``clips``: how many candidates a query has; scores of different numbers do not compare.
        split: which videos these are.
        embeddings: ``name`` and ``sha256`` of the file.
        versions: of what computed the scores.
        ranking: by what, and what happens to ties.
    """

    metrics: Mapping[str, float]
    counts: Mapping[str, int]
    split: str
    embeddings: Mapping[str, str]
    versions: Mapping[str, str]
    ranking: str = "cosine similarity; of equal ones the later first"

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write `to_json` to ``path``, whole or not at all."""
        write_bytes(path, self.to_json().encode("utf-8"))

    def table(self) -> Group:
        """For ``rich.print``: recalls x100, ranks, and what they are of."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.split}, retrieval", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("query -> found")
        for _, label, _ in FIELDS:
            table.add_column(label, justify="right")
        for _, label in RANKS:
            table.add_column(label, justify="right")
        table.add_column("of", justify="right")
        for way, text in WAYS.items():
            recalls = [f"{factor * self.metrics[f'{way}-{name}']:.2f}" for name, _, factor in FIELDS]
            places = [f"{self.metrics[f'{way}-{name}']:.1f}" for name, _ in RANKS]
            count = self.counts["videos" if "vid" in way else "clips"]
            table.add_row(text, *recalls, *places, str(count))
        name, digest = self.embeddings["name"], self.embeddings["sha256"]
        return Group(table, Text(f"embeddings: {name}, sha256 {digest[:16]}...; ranked by {self.ranking}"))
