"""What a run depends on, as short digests: options by their values, files by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.files import read_json, write_json

MODEL_FILES = ("model.safetensors", "vocabulary.json")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def short_digest(value: Any) -> str:
    """Eight letters that stand for ``value``, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


class Digests:
    """SHA-256 of files, remembered in ``store`` as long as size and time of change of a file stay the same.

    Feature files have gigabytes; without a memory each start of a benchmark would read all of them.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, list] = read_json(store) if store.exists() else {}

    def of(self, path: str | Path) -> str:
        """Of a file; of a model folder that of its weights and vocabulary, which are all that it computes with."""
        path = Path(path)
        if path.is_dir():
            return short_digest([self.of(path / name) for name in MODEL_FILES if (path / name).exists()])
        state = path.stat()
        key, stamp = str(path.resolve()), [state.st_size, state.st_mtime_ns]
        if self._known.get(key, [])[:2] != stamp:
            self._known[key] = [*stamp, file_sha256(path)]
            write_json(self._store, self._known)
        return self._known[key][2]

    def replaced(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` with the digest of its content in the place of every path that exists."""
        return {name: self._replaced(value) for name, value in options.items()}

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._replaced(item) for item in value]
        is_path = isinstance(value, str) and ("/" in value or "." in value) and Path(value).exists()
        return {"sha256": self.of(value)} if is_path else value
