"""The dependency directions of the packages, read from every import statement."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("encoder", "captioner", "evaluation", "training", "cootmart")
ALLOWED = {
    "evaluation": set(),
    "training": set(),
    "encoder": {"training"},
    "captioner": {"encoder", "training", "evaluation"},
    "cootmart": {"encoder", "captioner", "training", "evaluation"},
}
CAPTIONER_MAY_USE = {"encoder.embeddings"}


def imported(path: Path) -> set[str]:
    """Modules that the file at ``path`` imports, function bodies included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            top = module.split(".")[0]
            if top in PACKAGES and top != package:
                assert top in ALLOWED[package], f"{path.relative_to(ROOT)} imports {module}"
            if package == "captioner" and top == "encoder":
                assert module in CAPTIONER_MAY_USE, f"{path.relative_to(ROOT)} imports {module}"
