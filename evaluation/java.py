"""A Java program that answers each line with a line, and that cannot make its caller wait for ever."""

from __future__ import annotations

import os
import queue
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from evaluation.errors import EvaluationError

# Options from the environment would win over ours (-Duser.language) or print among the last words.
_FOREIGN_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")


class LineProcess:
    """A running program; one caller at a time. Ends with `kill`, with this object, or with the interpreter.

    Args:
        name: how messages call it.
        timeout: seconds to wait for the next line before the program is given up.

    Raises:
        EvaluationError: the program cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], timeout: float) -> None:
        self._name, self._timeout = name, timeout
        # A file, not a pipe: nobody has to read it while the program runs, and its end is there afterwards.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN_OPTIONS}
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, env=environment)
        except OSError as error:
            self._errors.close()
            raise EvaluationError(f"{name}: cannot start {command[0]} ({error.strerror})") from None
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True)
        reader.start()
        self._end = weakref.finalize(self, _end, self._process, reader, self._errors, os.getpid())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._end.alive and self._process.poll() is None

    def ask(self, lines: Sequence[str]) -> list[str]:
        """One answer a line, in order. After an error the program is gone.

        Raises:
            EvaluationError: it ended, or was silent for longer than the time-out; with its last words.
        """
        data = "".join(f"{line}\n" for line in lines).encode()
        # Writing has its own thread: a full pipe on either side must not stop the other.
        writer = threading.Thread(target=_write, args=(self._process.stdin, data), daemon=True)
        try:
            writer.start()
            answers = [self._next() for _ in lines]
            writer.join()
            return answers
        except BaseException:
            self.kill()
            raise

    def _next(self) -> str:
        try:
            line = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            raise self._failure(f"no answer within {self._timeout:g} s, stopped") from None
        if line is None:
            raise self._failure(self._how_it_ended())
        return line.decode("utf-8", "replace").strip()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        return f"Java was killed by signal {-code}" if code < 0 else f"Java ended with exit code {code}"

    def _failure(self, what: str) -> EvaluationError:
        self._process.kill()
        self._process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        words = self._errors.read().decode("utf-8", "replace").strip()
        return EvaluationError(f"{self._name}: {what}; its last words: {words or '(none)'}")

    def kill(self) -> None:
        """End the program and wait until it is gone; safe to call twice."""
        self._end()


def _read(stdout: IO[bytes], answers: queue.SimpleQueue[bytes | None]) -> None:
    with suppress(OSError, ValueError):
        for line in stdout:
            answers.put(line)
    answers.put(None)


def _write(stdin: IO[bytes], data: bytes) -> None:
    with suppress(OSError, ValueError):  # the reader tells that the program is gone
        stdin.write(data)
        stdin.flush()


def _end(process: subprocess.Popen, reader: threading.Thread, errors: IO[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a forked copy of the object, for example in a data loader's worker
        return
    process.kill()
    process.wait()
    reader.join(timeout=5)
    for stream in (process.stdin, process.stdout, errors):
        with suppress(OSError, ValueError):
            stream.close()
