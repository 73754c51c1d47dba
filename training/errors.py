"""The one exception that carries a message meant for the person at the keyboard."""


class CootmartError(Exception):
    """What went wrong, where (file and key), what was expected, and what to try next.

    The command prints the message without a traceback and exits with code 2.
    """
