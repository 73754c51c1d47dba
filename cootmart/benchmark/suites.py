"""Suites: which systems a benchmark compares, on which videos, and what each row is trained with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from captioner.config import CaptionerConfig, DecodingOptions
from cootmart.demo.config import VideosConfig, configs_folder
from encoder.config import EncoderConfig
from training import config as configuration
from training.errors import CootmartError

CAPTIONS = ("Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "re4")


@dataclass(frozen=True)
class TestConfig:
    """The videos that the rows are scored on."""

    name: str = ""
    """what the cards call them; by default the published set that the references are"""
    annotations: str = ""
    """`{video: {timestamps, sentences}}` or meta_all.json: which videos, and how many sentences each"""
    split: str = ""
    """split of meta_all.json, also the one that an encoder of the suite embeds"""
    references: tuple[str, ...] = ()
    """files of reference paragraphs"""
    embeddings: str = ""
    """embeddings file; by default what the suite's encoder gives, else the captioner's val_embeddings"""
    videos: str = ""
    """folder of the video files (`<video>.mp4` or any other ending), for frames on the page; by default none"""


@dataclass(frozen=True)
class RowConfig:
    """One system: a captioner, or an encoder alone, or only a published result."""

    encoder: str = ""
    """YAML file to train an encoder from (`file.yaml#group` takes one group of it), or a trained encoder's folder; by
    default the captioner's embeddings files are used"""
    encoder_options: dict = field(default_factory=dict)
    """options of the encoder that differ from its file"""
    captioner: str = ""
    """YAML file to train a captioner from, or a trained captioner's folder (`{seed}` is replaced)"""
    options: dict = field(default_factory=dict)
    """options of the captioner that differ from its file"""
    features: str = ""
    """what the captioner sees of a clip: clip | vid | vidclip | vidclipctx; by default as in its file"""
    decoding: dict = field(default_factory=dict)
    """how the test videos are written where that differs from training; rows that differ in nothing else share a run"""
    seeds: tuple[int, ...] = ()
    """seeds of the runs; by default those of the suite"""
    published: dict = field(default_factory=dict)
    """metric -> the number of the paper, as printed"""
    note: str = ""
    """shown below the name"""


@dataclass(frozen=True)
class Suite:
    """A benchmark."""

    title: str = "Benchmark"
    note: str = ""
    """what a reader must know to compare the numbers with others"""
    prepare: str = ""
    """data to make first: `demo` renders its videos"""
    videos: VideosConfig = field(default_factory=VideosConfig)
    """prepare demo: how many videos"""
    word_size: int = 256
    """prepare demo: width of the random vector that stands for a word"""
    test: TestConfig = field(default_factory=TestConfig)
    metrics: tuple[str, ...] = CAPTIONS
    """columns"""
    compare_with: str = ""
    """row that the others are tested against; the first by default"""
    seeds: tuple[int, ...] = (0,)
    encoder: dict = field(default_factory=dict)
    """options of all encoders"""
    captioner: dict = field(default_factory=dict)
    """options of all captioners"""
    all_rows: dict = field(default_factory=dict)
    """what a row has unless it says otherwise"""
    rows: dict = field(default_factory=dict)
    """name -> row"""
    folder: str = ""
    """paths of configurations are relative to this folder; that of the suite's file"""


@dataclass(frozen=True)
class Prepared:
    """What the preparation of a suite's data gives: options that place the data, and what is special about them."""

    encoder: dict = field(default_factory=dict)
    captioner: dict = field(default_factory=dict)
    test: TestConfig = field(default_factory=TestConfig)
    extra: Callable[[Mapping[str, Sequence[str]]], dict[str, dict[str, tuple[float, float]]]] | None = None
    """sentences of each video -> metric -> video -> (numerator, denominator) whose sums give the score"""
    video_file: Callable[[str], Path] | None = None
    """the video of an annotation, for frames on the page"""
    sentences: Sequence[Path] = ()
    """files of references sentence by sentence, for the page"""


def find_suite(name: str) -> Path:
    """The file of a shipped suite, or the path itself.

    Raises:
        CootmartError: neither exists.
    """
    shipped = configs_folder() / "benchmark"
    for path in (shipped / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in shipped.glob("*.yaml")))
    raise CootmartError(f"suite {name!r}: expected one of {known}, or a YAML file")


def load_suite(path: Path, overrides: Iterable[str] = ()) -> Suite:
    """Read a suite.

    Raises:
        CootmartError: unknown options, no row, or a row that is wrong.
    """
    suite = replace(configuration.load(Suite, path, overrides), folder=str(path.resolve().parent))
    if not suite.rows:
        raise CootmartError(f"{path}: rows is empty, expected name: {{captioner: FILE}} and so on")
    for name in suite.rows:
        row_of(suite, name)
    if suite.compare_with and suite.compare_with not in suite.rows:
        raise CootmartError(f"{path}: compare_with {suite.compare_with!r}: expected one of {', '.join(suite.rows)}")
    if suite.prepare not in ("", "demo"):
        raise CootmartError(f"{path}: prepare: found {suite.prepare!r}, expected demo or nothing")
    return suite


def row_of(suite: Suite, name: str) -> RowConfig:
    """The row called ``name`` with what all rows have."""
    values = configuration.merge(suite.all_rows, suite.rows[name] or {})
    row = configuration.from_dict(RowConfig, values, f"rows: {name}")
    if not (row.encoder or row.captioner or row.published):
        raise CootmartError(f"rows: {name}: expected an encoder, a captioner, or published numbers")
    for metric, value in row.published.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CootmartError(f"rows: {name}: published {metric} is {value!r}, expected a number")
    return row if row.seeds else replace(row, seeds=suite.seeds)


def check_rows(suite: Suite) -> None:
    """Build the configuration of every row, before hours are spent on the first.

    Raises:
        CootmartError: an option of a row is wrong; the message names the row.
    """
    for name in suite.rows:
        row = row_of(suite, name)
        try:
            if row.encoder and not is_trained(row.encoder):
                encoder_config(suite, row, Prepared(), None)
            if row.captioner and not is_trained(row.captioner):
                decoding_options(row, captioner_config(suite, row, Prepared(), 0))
        except CootmartError as error:
            raise CootmartError(f"rows: {name}: {error}") from None


def is_trained(source: str) -> bool:
    """Whether ``source`` names no configuration but the folder of a model."""
    return "#" not in source and not source.endswith((".yaml", ".yml"))


def encoder_config(suite: Suite, row: RowConfig, prepared: Prepared, seed: int | None) -> EncoderConfig:
    """What the row's encoder is trained with; ``seed`` None leaves that of the file."""
    changes = [prepared.encoder, suite.encoder, row.encoder_options, *_seed(seed)]
    return configuration.from_dict(EncoderConfig, _merged(suite, row.encoder, changes), row.encoder)


def captioner_config(suite: Suite, row: RowConfig, prepared: Prepared, seed: int) -> CaptionerConfig:
    """What the row's captioner is trained with."""
    features = [{"data": {"features": row.features}}] if row.features else []
    changes = [prepared.captioner, suite.captioner, row.options, *features, *_seed(seed)]
    return configuration.from_dict(CaptionerConfig, _merged(suite, row.captioner, changes), row.captioner)


def decoding_options(row: RowConfig, config: CaptionerConfig) -> DecodingOptions:
    """How the row writes the test videos."""
    values = configuration.merge(configuration.to_dict(config.decoding), row.decoding)
    return configuration.from_dict(DecodingOptions, values, "decoding")


def _seed(seed: int | None) -> list[dict[str, Any]]:
    return [] if seed is None else [{"loop": {"seed": seed}}]


def _merged(suite: Suite, source: str, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    file, _, group = source.partition("#")
    values = configuration.read_yaml(Path(suite.folder) / file)
    if group and group not in values:
        raise CootmartError(f"{source}: {file} has no group {group!r}; it has {', '.join(values)}")
    values = values[group] if group else values
    for change in changes:
        values = configuration.merge(values, change)
    return values


def test_of(suite: Suite, prepared: Prepared) -> TestConfig:
    """The suite's test set; what it does not say comes from the preparation."""
    found = {name: value or getattr(prepared.test, name) for name, value in vars(suite.test).items()}
    return TestConfig(**found)
