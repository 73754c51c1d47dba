"""Where the golden cases lie: numbers that the published code gives, in folders named by the part they test."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT = Path(__file__).parent / "golden"


def golden_dir(part: str) -> Path:
    """Folder of one part ("coot", "mart", "eval", "s3d") below ``COOTMART_GOLDEN`` or ``tests/golden``."""
    return Path(os.environ.get("COOTMART_GOLDEN") or DEFAULT) / part


def cases(part: str, pattern: str) -> list[Path]:
    """Files of ``part`` that match ``pattern``, sorted; the names carry no meaning, the JSON files do."""
    return sorted(golden_dir(part).glob(pattern))
