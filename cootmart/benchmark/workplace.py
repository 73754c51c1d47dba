"""The folder of a benchmark: one process at a time, no half files, and a run folder for everything that is trained.

Each run lies under a digest of everything that shapes it (options and the content of data files, not where these lie),
so what is found there is reused exactly if it would come out the same again.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cootmart.benchmark.digests import Digests, short_digest
from cootmart.benchmark.suites import Prepared, Suite, TestConfig
from evaluation.references import load_references
from evaluation.scorer import Scorer
from training import config as configuration
from training.errors import CootmartError
from training.files import read_json, write_json


@dataclass
class Workplace:
    """What all rows share while a benchmark runs."""

    suite: Suite
    out: Path
    prepared: Prepared
    test: TestConfig
    digests: Digests
    opened: ExitStack = field(default_factory=ExitStack)
    _scorer: Scorer | None = None

    def scorer(self) -> Scorer:
        """One scorer for all rows, with its Java, from the first row on that is not scored yet."""
        if self._scorer is None:
            sets = [s for path in self.test.references for s in load_references(path, self.test.split or None)]
            self._scorer = self.opened.enter_context(Scorer(sets, split=self.test.name))
        return self._scorer

    def run_folder(self, kind: str, name: str, config: Any) -> Path:
        """Where the run of ``config`` lies; seeds of the same options lie side by side."""
        options = configuration.to_dict(config)
        seed = options["loop"].pop("seed")
        options["data"] = self.digests.replaced(
            options["data"] | {"encoder": ""}
        )  # goes with the model, shapes nothing
        return self.out / kind / f"{name}-{short_digest(options)}" / f"seed{seed}"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep a second benchmark out of ``out``; the lock goes with the process, however that ends.

    Raises:
        CootmartError: another process has it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CootmartError(f"{out}: another benchmark runs in this folder; wait for it, or use --out") from None
        yield


def remove_halves(out: Path) -> None:
    """Remove what a killed process left half-written: it lies beside its place under a name of its own."""
    for path in sorted(out.rglob(".*.tmp")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def train_once(title: str, train: Callable[..., list], config: Any, folder: Path) -> None:
    """Train into ``folder`` unless that is done; go on after the last whole epoch of an earlier process."""
    if (folder / "finished.json").exists():
        return
    resume = (folder / "last" / "state.pt").exists()
    print(f"{title}: {'goes on' if resume else 'trains'} in {folder}", flush=True)
    history = train(config, folder, resume)
    write_json(folder / "finished.json", {"epochs": len(history), "seconds": history[-1]["seconds"]})


def train_seconds(folder: Path) -> float | None:
    """How long the run took, validation included; None for a model from elsewhere."""
    path = folder / "finished.json"
    return read_json(path)["seconds"] if path.exists() else None


def require_files(*wanted: tuple[Any, Sequence[str]]) -> None:
    """Check that the files named by options of configurations exist; options that are empty name none.

    Raises:
        CootmartError: with all that are missing.
    """
    values = [getattr(config, name) for config, names in wanted for name in names]
    paths = [path for value in values for path in ([value] if isinstance(value, str) else value) if path]
    missing = dict.fromkeys(path for path in paths if not Path(path).exists())
    if missing:
        raise CootmartError(f"missing: {', '.join(missing)}")
