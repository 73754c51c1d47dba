"""The part of METEOR's paraphrase table that a set of references can use.

Most of METEOR's start is the loading of 5.3 million English paraphrases. A paraphrase only ever matches a phrase of the
hypothesis with a phrase of a reference, so a pair none of whose sides occurs in any reference cannot change
a score, whatever the predictions are. Without those pairs the answers are the same and start and memory a fraction.
"""

from __future__ import annotations

import atexit
import gzip
import hashlib
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from evaluation.errors import EvaluationError
from evaluation.files import write_bytes

LONGEST_PHRASE = 7  # words, in the table of METEOR 1.5
# A made-up pair at the end of every cut table: METEOR goes on without a table that it cannot read, and says nothing
# that counts, so the caller asks whether it knows this one.
SENTINEL = ("cootmartfirstsentinel", "cootmartsecondsentinel")
_BLOCK = 1 << 22  # bytes read at a time; the whole table would take gigabytes as Python objects

_CUTTING = threading.Lock()


def meteor_file(name: str) -> Path:
    """A file of the METEOR folder of ``pycocoevalcap``, found without importing that package.

    Raises:
        EvaluationError: the package, or the file in it, is missing.
    """
    found = find_spec("pycocoevalcap")
    for root in found.submodule_search_locations or () if found else ():
        path = Path(root) / "meteor" / name
        if path.is_file():
            return path
    raise EvaluationError(f"METEOR: {name} not found; it comes with `pip install pycocoevalcap`")


def paraphrase_table(references: Iterable[str]) -> Path:
    """The table cut to ``references`` (letters-only text), a gzip file that is kept for the next time.

    It lies in ``COOTMART_CACHE``, else below ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        EvaluationError: the table of the package is missing or damaged, or there is no room for this one.
    """
    texts, source = sorted(set(references)), meteor_file("data/paraphrase-en.gz")
    identity = hashlib.sha256("\n".join([str(source.stat().st_size), *SENTINEL, *texts]).encode()).hexdigest()
    path = _cache_folder() / f"paraphrase-en-{identity[:24]}.gz"
    with _CUTTING:  # many threads may want the same table
        if not path.is_file():
            try:
                _cut(source, texts, path)
            except (OSError, EOFError, zlib.error) as error:
                raise EvaluationError(f"METEOR: cannot cut {source} to {path} ({error})") from None
    return path


def _cut(source: Path, texts: Iterable[str], path: Path) -> None:
    pairs = [*_usable_pairs(source, _phrases(texts)), "1.0\n{}\n{}\n".format(*SENTINEL).encode()]
    write_bytes(path, gzip.compress(b"".join(pairs), compresslevel=1))


def _phrases(texts: Iterable[str]) -> set[bytes]:
    """All stretches of one to seven words of ``texts``."""
    phrases: set[str] = set()
    for text in texts:
        words = text.split()
        for n in range(1, LONGEST_PHRASE + 1):
            phrases.update(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    return {phrase.encode("ascii") for phrase in phrases}


def _usable_pairs(source: Path, phrases: set[bytes]) -> Iterator[bytes]:
    """Entries of the table (three lines: probability and two phrases) with a side among ``phrases``."""
    rest = b""
    with gzip.open(source, "rb") as file:
        while block := file.read(_BLOCK):
            lines = (rest + block).split(b"\n")
            whole = (len(lines) - 1) // 3 * 3
            rest = b"\n".join(lines[whole:])
            line = iter(lines[:whole])
            for weight, a, b in zip(line, line, line, strict=True):
                if a in phrases or b in phrases:
                    yield b"%b\n%b\n%b\n" % (weight, a, b)


@cache
def _cache_folder() -> Path:
    """Where tables are kept; a folder that lives as long as this process where nothing can be kept."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("COOTMART_CACHE") or f"{home}/cootmart").expanduser() / "meteor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # read-only, or no home at all
        folder = Path(tempfile.mkdtemp(prefix="cootmart-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
