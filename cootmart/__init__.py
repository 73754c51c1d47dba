"""cootmart: from a long video to a coherent paragraph."""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Captioner", "__version__"]


def __getattr__(name: str):
    """Load the Python API on first use, so that ``import cootmart`` does not import torch."""
    if name == "Captioner":
        from cootmart.pipeline import Captioner

        return Captioner
    raise AttributeError(f"module 'cootmart' has no attribute {name!r}")
