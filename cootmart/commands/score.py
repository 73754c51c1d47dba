"""``cootmart score``: predicted paragraphs against references."""

from evaluation.command import add_arguments, run

__all__ = ["add_arguments", "run"]
