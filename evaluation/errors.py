"""The one exception of this package whose message is meant for the person at the keyboard."""


class EvaluationError(Exception):
    """What went wrong, where (file and key), what was found, what was expected, and what to try next."""
