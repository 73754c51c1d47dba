"""Reading and writing of the files of an evaluation: UTF-8, and either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write ``content`` beside ``path``, then rename, so that no reader ever sees half a file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: str | Path) -> tuple[dict[str, Any], str]:
    """The JSON object in ``path`` and the SHA-256 of the file.

    Raises:
        EvaluationError: no such file, not UTF-8 JSON, an object with a key twice, or not an object.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique_keys)
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, a key twice
        raise EvaluationError(f"{path}: not a JSON file ({error})") from None
    if not isinstance(value, dict):
        raise EvaluationError(f"{path}: found a {type(value).__name__}, expected an object with a key a video")
    return value, hashlib.sha256(content).hexdigest()


def json_sha256(value: Any) -> str:
    """SHA-256 of ``value`` written as compact JSON: the identity of data that came from no file."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode("ascii")).hexdigest()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two equal keys, which would silently drop a video.
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice!r} appears twice in one object")
    return value
