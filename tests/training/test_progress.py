"""The line that says how long it will still take."""

from __future__ import annotations

import pytest

from training import progress
from training.progress import Progress


def test_time_left_is_that_of_all_steps_but_the_first(monkeypatch, capsys):
    """The first one compiles; 80 s of it would make half an hour of 20 steps of a second."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt), Progress("training", 22) as bar:
        for second in (80.0, 81.0, 96.5):
            now = second
            bar.advance()
        raise KeyboardInterrupt
    first, later = capsys.readouterr().err.splitlines()
    assert first == "training  1/22"
    assert later == "training  3/22  2:37 left"  # 19 steps, (96.5 - 80) / 2 s each
