"""Configurations: what is read is what was written, and wrong options are named."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from training import config
from training.errors import CootmartError


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    names: tuple[str, ...] = ("a",)
    limit: int | None = None

    def __post_init__(self) -> None:
        config.at_least(self, "inner", 0, "lr")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    epochs: int = 3
    fast: bool = False


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_and_overrides(tmp_path):
    path = write(tmp_path, "epochs: 7\ninner:\n  lr: 9e-4\n")
    found = config.load(Outer, path, ["inner.names=[x, y]", "fast=true", "inner.limit=4"])
    assert found == Outer(Inner(9e-4, ("x", "y"), 4), 7, True)


def test_saved_is_loaded(tmp_path):
    value = Outer(Inner(0.25, ("p", "q"), None), 11, True)
    config.save(value, tmp_path / "saved.yaml")
    assert config.load(Outer, tmp_path / "saved.yaml") == value


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("epoch: 3\n", [], "did you mean 'epochs'"),
        ("inner:\n  rl: 3\n", [], "unknown option 'rl'"),
        ("epochs: many\n", [], "expected int"),
        ("epochs: true\n", [], "expected int"),
        ("inner: 3\n", [], "expected a mapping"),
        ("inner: {lr: fast}\n", [], "expected a number"),
        ("epochs: [\n", [], "not a YAML file"),
        ("", ["epochs"], "expected key=value"),
        ("epochs: 3\n", ["epochs.x=3"], "not a group"),
        ("epochs: 3\n", ["epochs=["], "no YAML value"),
        ("- 3\n", ["epochs=3"], "found a list, expected a mapping"),
        ("base: run.yaml\n", [], "run.yaml starts from this file again"),
        ("base: 3\n", [], "3: no such configuration file"),
        ("inner: {lr: -1}\n", [], "run.yaml: inner.lr: found -1.0, expected 0 or more"),
        ("epochs: 3\n", ["inner.lr=.nan"], "inner.lr: found nan, expected 0 or more"),
    ],
)
def test_wrong_options_are_named(tmp_path, text, overrides, said):
    with pytest.raises(CootmartError, match=r"run\.yaml|override|3: no such") as caught:
        config.load(Outer, write(tmp_path, text), overrides)
    assert said in str(caught.value)


def test_base_is_merged(tmp_path):
    write(tmp_path, "epochs: 7\ninner: {lr: 2, names: [x]}\n")
    (tmp_path / "variant.yaml").write_text("base: run.yaml\ninner: {lr: 3}\n", encoding="utf-8")
    assert config.load(Outer, tmp_path / "variant.yaml") == Outer(Inner(3.0, ("x",)), 7)


def test_two_files_that_start_from_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.yaml").write_text("base: ../run.yaml\n", encoding="utf-8")
    with pytest.raises(CootmartError, match=r"base: a\.yaml starts from this file again"):
        config.load(Outer, write(tmp_path, "base: a/a.yaml\n"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CootmartError, match="not a YAML file"):
        config.load(Outer, tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(CootmartError, match=r"none\.yaml: no such"):
        config.load(Outer, tmp_path / "none.yaml")
