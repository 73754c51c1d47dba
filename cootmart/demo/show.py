"""The demo's page: scores, comparison with and without memory, curves, and held-out videos with their sentences."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from captioner.paragraph import as_written
from cootmart.demo.probes import load_probes, named_colours, named_shapes
from cootmart.demo.world import COLOURS
from encoder.data.meta import Video, load_meta, select
from encoder.features.video import read_frames
from evaluation.report import write_report
from evaluation.report_curves import read_metrics, training_curves
from evaluation.report_data import (
    Distribution,
    Flag,
    Metric,
    Report,
    Sample,
    SampleClip,
    Score,
    SystemRow,
    SystemTable,
    Timing,
)
from training.files import read_json

SAMPLES = 12
FRAMES_A_CLIP = 4
REFERENCES = 3
METRICS = {
    "Bleu_1": Metric("B-1", "BLEU-1: words that some reference has, in %"),
    "Bleu_2": Metric("B-2", "BLEU-2: pairs of words, in %"),
    "Bleu_3": Metric("B-3", "BLEU-3: three words in a row, in %"),
    "Bleu_4": Metric("B-4", "BLEU-4: four words in a row, in %"),
    "METEOR": Metric("METEOR", "METEOR 1.5 with stems, synonyms and paraphrases, in %"),
    "ROUGE_L": Metric("ROUGE-L", "longest common subsequence, in %"),
    "CIDEr": Metric("CIDEr-D", "n-grams weighted by how telling they are, x100"),
    "re4": Metric("R@4", "share of 4-grams said before in the paragraph, in %", higher_is_better=False),
    "hidden_colour": Metric("hidden colour", "hidden objects whose colour is named rightly, in %"),
    "hidden_shape": Metric("shape", "hidden objects whose shape is named rightly, in %"),
    "again_f1": Metric("again", "F1 of saying “again” where it is due, in %"),
}


def write_demo_report(
    out: Path, scores: Mapping[str, Any], captions: Mapping[str, Mapping[str, Sequence[str]]]
) -> Path:
    """Write ``out/report.html``.

    Args:
        out: run folder of the demo.
        scores: what ``scores.json`` holds.
        captions: system -> test video -> its sentences.
    """
    main = next(iter(captions))
    report = Report(
        title="From videos to paragraphs",
        subtitle="The encoder and the captioner were trained on rendered videos; everything below is about "
        f"{scores['videos']['test']} test videos that neither of them saw.",
        command="cootmart demo",
        facts=[(f"{split} videos", str(count)) for split, count in scores["videos"].items()],
        scores=[*_headlines(main, scores), *_retrieval(scores["retrieval"], scores["videos"]["test"])],
        systems=[_systems(scores["systems"])],
        samples=_samples(out, captions, scores["per_video_cider"]),
        sample_score="CIDEr-D",
        distributions=[Distribution("Test videos by score", "CIDEr-D", _of_all_videos(scores["per_video_cider"]))],
        curves=_curves(out, scores["run_folders"]),
        timings=[Timing(step, seconds) for step, seconds in scores["seconds"].items()],
        environment=_environment(scores["seed"]),
        notes=[
            "A hidden object is one that went behind the wall or into the bowl in an earlier clip. Its clip does not "
            "show it, so only a captioner that remembers the earlier clips can name it.",
        ],
    )
    return write_report(out / "report.html", report)


def _headlines(main: str, scores: Mapping[str, Any]) -> list[Score]:
    systems = scores["systems"]
    cards = (
        ("CIDEr", "CIDEr-D", "agreement with three reference paragraphs", "", None, None),
        ("METEOR", "METEOR", "the same, forgiving stems and synonyms", "%", None, None),
        (
            "hidden_colour",
            "Hidden objects",
            "named with the right colour although not seen",
            "%",
            100 / len(COLOURS),
            100,
        ),
        ("again_f1", "“Again”", "F1 of saying it where the event happened before", "%", None, 100),
    )
    return [
        Score(
            name,
            systems[main][key],
            meaning,
            unit,
            main,
            [(other, systems[other][key]) for other in systems if other != main],
            chance,
            full=full,
            group="Captions",
            is_headline=True,
        )
        for key, name, meaning, unit, chance, full in cards
    ]


def _retrieval(found: Mapping[str, float], videos: int) -> list[Score]:
    clips = round(found["clips"])
    rows = (
        ("vid2par-r1", "Video → paragraph", "paragraph of the right video ranked first", videos),
        ("par2vid-r1", "Paragraph → video", "right video ranked first", videos),
        ("cli2sen-r1", "Clip → sentence", "sentence of the right clip ranked first", clips),
        ("sen2cli-r1", "Sentence → clip", "right clip ranked first", clips),
    )
    return [
        Score(f"{name} R@1", 100 * found[key], f"{text}, of {count}", "%", reference=100 / count, group="Retrieval")
        for key, name, text, count in rows
    ]


def _systems(systems: Mapping[str, Mapping[str, float | None]]) -> SystemTable:
    rows = [SystemRow(name, [values[key] for key in METRICS]) for name, values in systems.items()]
    note = "Same embeddings, same budget, same options."
    return SystemTable("Memory against no memory", list(METRICS.values()), rows, note)


def _of_all_videos(per_video: Mapping[str, Mapping[str, float]]) -> dict[str, list[float]]:
    return {system: list(values.values()) for system, values in per_video.items()}


def _curves(out: Path, folders: Mapping[str, str]) -> list:
    recall = {
        "R@1": {"val_vid2par-r1": "video to paragraph", "val_cli2sen-r1": "clip to sentence"},
        "loss": {"train_loss": "training", "val_loss": "validation"},
    }
    curves = training_curves("Encoder", read_metrics(out / "encoder" / "metrics.jsonl"), recall)
    charts = {"loss": {"train_loss": "training"}, "CIDEr-D": {"val_score": "validation"}}
    for name, folder in folders.items():
        curves += training_curves(name, read_metrics(out / folder / "metrics.jsonl"), charts)
    return curves


def _samples(out: Path, captions: Mapping[str, Mapping[str, Sequence[str]]], per_video) -> list[Sample]:
    data = out / "data"
    probes = load_probes(data)
    references = [read_json(data / f"sentences_test_{i + 1}.json") for i in range(REFERENCES)]
    videos = select(load_meta(data / "meta_all.json"), "test", data / "meta_all.json")
    first = [video for video in videos if probes[video.key]["hidden"]][:SAMPLES]
    return [
        Sample(
            video.key,
            _clips(data / "videos" / f"{video.data_key}.mp4", video, captions, references, probes[video.key]),
            {system: scores[video.key] for system, scores in per_video.items()},
        )
        for video in first
    ]


def _clips(path: Path, video: Video, captions, references, probes: Mapping[str, Any]) -> list[SampleClip]:
    frames = list(read_frames(path, 4.0))
    hidden = {entry["sentence"]: entry for entry in probes["hidden"]}
    clips = []
    for i, segment in enumerate(video.segments):
        said = {system: texts[video.key][i] for system, texts in captions.items()}
        flags = _flags(said, hidden[i]) if i in hidden else []
        shown = _few([frame for time, frame in frames if segment.start_sec <= time < segment.stop_sec])
        truth = [reference[video.key][i] for reference in references]
        written = {system: as_written(text) for system, text in said.items()}
        clips.append(SampleClip(segment.start_sec, segment.stop_sec, shown, written, truth, flags))
    return clips


def _few(frames: list[np.ndarray]) -> list[np.ndarray]:
    places = np.linspace(0, len(frames) - 1, FRAMES_A_CLIP).round().astype(int)
    return [frames[i] for i in sorted(set(places.tolist()))]


def _flags(said: Mapping[str, str], hidden: Mapping[str, str]) -> list[Flag]:
    wanted = {hidden["colour"]}, {hidden["shape"]}
    return [
        Flag(
            f"hidden {hidden['colour']} {hidden['shape']}", (named_colours(text), named_shapes(text)) == wanted, system
        )
        for system, text in said.items()
    ]


def _environment(seed: int) -> list[tuple[str, str]]:
    import torch

    import cootmart

    return [
        ("cootmart", cootmart.__version__),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("threads", str(torch.get_num_threads())),
        ("processors", str(os.cpu_count())),
        ("seed", str(seed)),
    ]
