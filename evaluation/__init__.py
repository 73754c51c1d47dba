"""From predicted paragraphs to scores: ``evaluation.score(predictions, references)``, or a `Scorer` for many.

Names are loaded when they are used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evaluation.card import ScoreCard
    from evaluation.errors import EvaluationError
    from evaluation.meteor import Meteor
    from evaluation.predictions import Predictions
    from evaluation.references import ReferenceSet, load_references, named_references
    from evaluation.scorer import FAST_METRICS, METRICS, Scorer, score

_HOME = {
    "EvaluationError": "errors",
    "FAST_METRICS": "scorer",
    "METRICS": "scorer",
    "Meteor": "meteor",
    "Predictions": "predictions",
    "ReferenceSet": "references",
    "ScoreCard": "card",
    "Scorer": "scorer",
    "load_references": "references",
    "named_references": "references",
    "score": "scorer",
}
__all__ = [  # noqa: RUF022, the order of use
    "score",
    "Scorer",
    "ScoreCard",
    "Predictions",
    "ReferenceSet",
    "load_references",
    "named_references",
    "Meteor",
    "METRICS",
    "FAST_METRICS",
    "EvaluationError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"evaluation.{_HOME[name]}"), name)
