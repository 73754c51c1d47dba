"""Reference paragraphs: the file formats, the named sets of the published tables, and which key means which video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.files import json_sha256, read_json

# Folder and stems of the files, and the digests of the files that were published with COOT and MART.
NAMED_SETS = {
    "youcook2-val": ("youcook2", ("captioning_val",)),
    "ae-val": ("activitynet", ("captioning_val_1", "captioning_val_2")),
    "ae-test": ("activitynet", ("captioning_test_1", "captioning_test_2")),
}
PUBLISHED_SHA256 = {
    "youcook2-val": ("8ae3e1ef5edb15994cdb6541649bdc9f0b91060878b9a2b5f580cf9f5a0240db",),
    "ae-val": (
        "5ff2dcccf7db3a15d14ff57e776942f2b6e0304609a1e7679311acdaaa5ebb2e",
        "48106f8d39fcc41a4d73408a4ea793eb68eb8b08754ef39281e358b2ad729cae",
    ),
    "ae-test": (
        "b434d2e05d78263056ee7fd937304f89bf4e77e0ca85f72194fa2a3c672dd3f2",
        "23d212bacb73a244cad73727d442db57f682ff84b4135f4f883c18d00e54f4d8",
    ),
}


@dataclass(frozen=True)
class ReferenceSet:
    """One reference a video.

    Attributes:
        name: for people: a path, or what the caller calls it.
        texts: video to its sentences; a paragraph that is known only as a whole is one sentence.
        sha256: of the file, or of the data if it came from none.
        has_sentences: whether the sentences are known one by one.
    """

    name: str
    texts: Mapping[str, tuple[str, ...]]
    sha256: str
    has_sentences: bool

    @classmethod
    def of(cls, value: Mapping[str, Any], name: str = "reference", sha256: str = "") -> ReferenceSet:
        """From ``{video: paragraph}``, ``{video: [sentence, ...]}`` or ``{video: {"sentences": [...]}}``.

        Raises:
            EvaluationError: no video, or an entry of another form.
        """
        if not isinstance(value, Mapping) or not value:
            raise EvaluationError(f"{name}: found no video, expected an object {{video: paragraph}}")
        texts = {str(video): _sentences(entry, f"{name}: {video!r}") for video, entry in value.items()}
        whole = all(isinstance(entry, str) for entry in value.values())
        return cls(name, texts, sha256 or json_sha256(texts), not whole)

    def paragraph(self, video: str) -> str:
        return " ".join(self.texts[video])


References = Mapping[str, Any] | ReferenceSet | Sequence[Mapping[str, Any] | ReferenceSet]


def load_references(path: str | Path, split: str | None = None) -> list[ReferenceSet]:
    """The references in a file: ``*_para.json``, dense captions, or ``meta_all.json`` (which needs ``split``).

    A ``meta_all.json`` that has several entries with the same ``data_key`` in the split gives several sets.

    Raises:
        EvaluationError: the file, or an entry of it, is not as expected.
    """
    value, sha256 = read_json(path)
    first = next(iter(value.values()), None)
    if not (isinstance(first, Mapping) and "segments" in first):
        return [ReferenceSet.of(value, str(path), sha256)]
    sets = _meta_sets(value, str(path), split)
    return [ReferenceSet.of(texts, f"{path} ({split})", sha256) for texts in sets]


def named_references(name: str, folder: str | Path) -> list[ReferenceSet]:
    """The reference sets of a published table: ``youcook2-val``, ``ae-val`` or ``ae-test``.

    ``folder`` is the annotations folder of the published code, or the data set's folder in it. Of each
    set the paragraph file is read or, without one, the file of dense captions, which holds the same text.

    Raises:
        EvaluationError: unknown name, or a file that is missing.
    """
    if name not in NAMED_SETS:
        raise EvaluationError(f"references {name!r} are unknown, expected one of {', '.join(NAMED_SETS)}")
    data_set, stems = NAMED_SETS[name]
    return [load_references(_find(Path(folder), data_set, stem))[0] for stem in stems]


def published_name(sets: Sequence[ReferenceSet]) -> str | None:
    """The name of the published set that ``sets`` are, byte by byte; None if they are none."""
    digests = tuple(reference.sha256 for reference in sets)
    return next((name for name, known in PUBLISHED_SHA256.items() if known == digests), None)


def _find(folder: Path, data_set: str, stem: str) -> Path:
    places = [base / f"{stem}{end}.json" for base in (folder / data_set, folder) for end in ("_para", "")]
    for path in places:
        if path.is_file():
            return path
    raise EvaluationError(f"{folder}: found none of {', '.join(str(path.relative_to(folder)) for path in places)}")


def _sentences(entry: Any, where: str) -> tuple[str, ...]:
    if isinstance(entry, Mapping):
        entry = entry.get("sentences")
    if isinstance(entry, str):
        return (entry,)
    if not isinstance(entry, list | tuple):
        raise EvaluationError(f"{where}: found {entry!r:.80}, expected a paragraph or a list of sentences")
    for i, sentence in enumerate(entry):
        if not isinstance(sentence, str):
            raise EvaluationError(f"{where}, sentence {i}: found {sentence!r:.80}, expected text")
    return tuple(entry)


def _meta_sets(value: Mapping[str, Any], path: str, split: str | None) -> list[dict[str, list[str]]]:
    sets: list[dict[str, list[str]]] = []
    splits = set()
    for key, entry in value.items():
        video, entry_split, sentences = _meta_entry(entry, f"{path}: {key!r}")
        splits.add(entry_split)
        if entry_split != split:
            continue
        free = next((texts for texts in sets if video not in texts), None)
        if free is None:
            sets.append(free := {})
        free[video] = sentences
    if not sets:
        raise EvaluationError(f"{path}: no video of split {split!r}, the file has {', '.join(sorted(splits))}")
    return sets


def _meta_entry(entry: Any, where: str) -> tuple[str, str, list[str]]:
    try:
        return entry["data_key"], entry["split"], [segment["text"] for segment in entry["segments"]]
    except (KeyError, TypeError) as error:
        raise EvaluationError(f"{where}: found no {error}, expected data_key, split and segments with text") from None


def match_ids(keys: Iterable[str], videos: Iterable[str], source: str) -> dict[str, str]:
    """Key to video, with or without the ``v_`` that ActivityNet puts before YouTube's ids.

    A key is the video of the same name; failing that, the one with ``v_`` before it or without the ``v_`` that it has.
    (YouTube ids that themselves begin with ``v_`` exist, so the prefix cannot just be removed.)
    Keys without a video are left out. ``source`` is what a message calls the keys' origin.

    Raises:
        EvaluationError: two keys mean the same video.
    """
    videos, found = set(videos), {}
    for key in keys:
        names = (key, f"v_{key}", key.removeprefix("v_"))
        video = next((name for name in names if name in videos), None)
        if video is None:
            continue
        if video in found:
            raise EvaluationError(f"{source}: {found[video]!r} and {key!r} both mean video {video!r}; remove one")
        found[video] = key
    return {key: video for video, key in found.items()}


def official_ids(keys: Iterable[str]) -> dict[str, str]:
    """Key to video as the published code has it: if the first key lacks ``v_``, all keys get one."""
    keys = list(keys)
    prefix = "" if not keys or keys[0].startswith("v_") else "v_"
    return {key: prefix + key for key in keys}


def reference_sets(references: References) -> list[ReferenceSet]:
    """The given sets, one or several, as a list of `ReferenceSet`."""
    given = [references] if isinstance(references, Mapping | ReferenceSet) else list(references)
    if not given:
        raise EvaluationError("references: found no set, expected at least one")
    return [
        item if isinstance(item, ReferenceSet) else ReferenceSet.of(item, f"reference set {i}")
        for i, item in enumerate(given, 1)
    ]


def by_video(sets: Sequence[ReferenceSet], ids: str) -> tuple[list[str], list[list[tuple[str, ...]]]]:
    """Sorted videos of all sets, and for each its references as sentences; the sets keep their order."""
    texts: dict[str, list[tuple[str, ...]]] = {}
    for reference in sets:
        names = match_ids(reference.texts, texts, reference.name) if ids == "robust" else official_ids(reference.texts)
        for key, sentences in reference.texts.items():
            texts.setdefault(names.get(key, key), []).append(sentences)
    videos = sorted(texts)
    return videos, [texts[video] for video in videos]


def units(grouped: list[list[tuple[str, ...]]], level: str) -> list[list[str]]:
    """The references of every paragraph, or of every sentence."""
    if level == "paragraph":
        return [[" ".join(sentences) for sentences in references] for references in grouped]
    return [list(sentences) for references in grouped for sentences in zip(*references, strict=True)]


def segments(videos: Sequence[str], grouped: list[list[tuple[str, ...]]]) -> dict[str, int]:
    """Number of sentences of each video.

    Raises:
        EvaluationError: the sets have different segments, so that their sentences do not belong together.
    """
    for video, references in zip(videos, grouped, strict=True):
        lengths = [len(sentences) for sentences in references]
        if len(set(lengths)) > 1:
            raise EvaluationError(f"references of {video!r}: found {lengths} sentences, expected as many in every set")
    return {video: len(references[0]) for video, references in zip(videos, grouped, strict=True)}
