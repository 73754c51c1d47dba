"""Configurations: frozen dataclasses read from YAML, checked, overridden on the command line, and saved again.

Unknown keys and wrong types are errors that name the file, the key and the nearest known name.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from training.errors import CootmartError
from training.files import atomic_path

C = TypeVar("C")


def from_dict(cls: type[C], values: Mapping[str, Any], where: str = "configuration") -> C:
    """Build dataclass ``cls`` (nested ones too) from a mapping.

    Raises:
        CootmartError: unknown key, a value of the wrong type, or one that the class refuses (`require`);
            ``where`` names the source in the message.
    """
    if not isinstance(values, Mapping):
        raise CootmartError(f"{where}: found {type(values).__name__} {values!r}, expected a mapping of options")
    types = typing.get_type_hints(cls)
    known = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise CootmartError(f"{where}: unknown option {key!r}{_nearest(key, known)}")
    converted = {key: _convert(types[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except CootmartError as error:
        raise CootmartError(f"{where.partition(': ')[0]}: {error}") from None  # it names the group itself


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return from_dict(kind, value, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], item, where) for item in value)
    if args and origin is not tuple:  # X | None
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, where)
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        value = _number(value, where)  # YAML reads 9e-4 as a string
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CootmartError(f"{where}: found {value!r}, expected {kind.__name__}")
    return value


def _number(value: int | str, where: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise CootmartError(f"{where}: found {value!r}, expected a number") from None


def _nearest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(str(key), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"


def require(group: object, where: str, name: str, holds: bool, expected: str) -> None:
    """For ``__post_init__`` of the options ``group`` called ``where``: raise `CootmartError` unless ``holds``."""
    if not holds:
        raise CootmartError(f"{where}.{name}: found {getattr(group, name)!r}, expected {expected}")


def at_least(group: object, where: str, least: float, *names: str) -> None:
    """`require` that each of the options ``names`` is ``least`` or more."""
    for name in names:
        require(group, where, name, getattr(group, name) >= least, f"{least} or more")


def to_dict(config: Any) -> dict[str, Any]:
    """Nested dictionary of a configuration, for YAML and JSON."""
    values = dataclasses.asdict(config)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def load(cls: type[C], path: str | Path, overrides: Iterable[str] = ()) -> C:
    """Read ``path`` as ``cls``; ``overrides`` are ``a.b=value`` with YAML values.

    Raises:
        CootmartError: missing file, no valid YAML, unknown key, wrong type.
    """
    return from_dict(cls, read_yaml(path, overrides), str(path))


def override(config: C, overrides: Iterable[str]) -> C:
    """``config`` with ``a.b=value`` changes applied and checked."""
    values = to_dict(config)
    for change in overrides:
        _apply(values, change)
    return from_dict(type(config), values, "override")


def read_yaml(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file with ``a.b=value`` overrides applied.

    ``base: other.yaml``, relative to the file that says it, starts from the options of another file.
    """
    values = _with_base(Path(path), ())
    for override in overrides:
        _apply(values, override)
    return values


def _with_base(path: Path, users: tuple[Path, ...]) -> dict[str, Any]:
    """The mapping in ``path`` on top of its base; ``users`` are the files that start from this one."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise CootmartError(f"{path}: no such configuration file") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CootmartError(f"{path}: not a YAML file ({error})") from None
    if not isinstance(values, dict):
        raise CootmartError(f"{path}: found a {type(values).__name__}, expected a mapping of options")
    if "base" not in values:
        return values
    base = path.parent / str(values.pop("base"))
    if (here := path.resolve()) in users:
        raise CootmartError(f"{path}: base: {base.name} starts from this file again; expected a chain that ends")
    return merge(_with_base(base, (*users, here)), values)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` on top; groups of options are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        merged[key] = merge(base[key], value) if both else value
    return merged


def _apply(values: dict, override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise CootmartError(f"override {override!r}: expected key=value, for example loop.epochs=10")
    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise CootmartError(f"override {override!r}: {parent!r} is a value, not a group of options")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CootmartError(f"override {override!r}: {text!r} is no YAML value ({error})") from None


def save(config: Any, path: str | Path) -> None:
    """Write a configuration as YAML."""
    with atomic_path(path) as beside:
        beside.write_text(yaml.safe_dump(to_dict(config), sort_keys=False), encoding="utf-8")
