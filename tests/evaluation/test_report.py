"""The report: self-contained, escaped, complete, well-formed, and with the right words marked."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.report import render, write_report
from evaluation.report_curves import read_metrics, training_curves
from evaluation.report_data import (
    Curve,
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
from evaluation.report_html import duration
from evaluation.report_samples import image_uri
from evaluation.report_svg import make_axis, tick_text

HOSTILE = """</script></style><img src=x onerror=alert(1)>"'&<b>\x00\ud800"""
ALONE = "MART without recurrence"
VOID = {"img", "input", "meta", "link"}


def frame(seed: int, side: int = 96) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side)))


def clip(i: int) -> SampleClip:
    references = (f"The wall hiding the green triangle number{i} trembles.", f"It shakes, number{i}.")
    sentences = {"MART": references[0], ALONE: f"The wall hiding the red circle{i} trembles."}
    flags = (Flag("hidden object", True, "MART"), Flag("hidden object", False, ALONE))
    return SampleClip(2.0 * i, 2.0 * i + 2, [frame(4 * i + k) for k in range(4)], sentences, references, flags)


def sample(i: int) -> Sample:
    return Sample(f"video_{i:03d}", [clip(5 * i + k) for k in range(5)], {"MART": 100.0 + i, ALONE: 50.0 - i}, "best")


def records(n: int = 8) -> list[dict]:
    return [{"epoch": i, "train_loss": 3 / (i + 1), "val_score": 10.0 * i, "best": i == 5} for i in range(n)]


@pytest.fixture(scope="module")
def report() -> Report:
    others = [(ALONE, 14.75)]
    return Report(
        title="Demo",
        subtitle="What ran",
        command="make demo",
        facts=[("Videos", "200")],
        scores=[
            Score("Hidden object", 79.25, "memory", "%", "MART", others, 12.5, decimals=2, is_headline=True),
            Score("BLEU-4", 58.97, "four words", decimals=2, group="Paragraphs"),
            Score("METEOR", None, "Java ended", group="Paragraphs"),
        ],
        systems=[
            SystemTable(
                "Test",
                [Metric("CIDEr-D"), Metric("R@4", higher_is_better=False)],
                [
                    SystemRow("MART", [281.5, 3.1], [4.5, 0.1]),
                    SystemRow(ALONE, [238.5, 2.7]),
                    SystemRow("published", [999.5, 0.5], is_reference=True),
                ],
            )
        ],
        samples=[sample(i) for i in range(12)],
        sample_score="CIDEr-D",
        distributions=[Distribution("Per video", "CIDEr-D", {"MART": [1.0, 2.0, 2.5, 10.0], ALONE: [0.0, 3.0]})],
        curves=training_curves("Encoder", records()) + training_curves("Captioner", records()),
        timings=[Timing("Decode", 81.0), Timing("Train", 3725.0, "24 epochs")],
        environment=[("PyTorch", "2.13.0")],
        notes=["Test was used once."],
    )


@pytest.fixture(scope="module")
def page(report) -> str:
    return render(report)


class Reader(HTMLParser):
    """Checks that elements nest, and collects them with their text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"<{tag}> has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_well_formed_with_unique_ids_and_labels(page):
    reader = Reader(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in reader.all("a")} <= set(ids)
    assert all(image["alt"] for image in reader.all("img"))
    assert all(svg["aria-label"] for svg in reader.all("svg"))
    assert reader.all("html")[0]["lang"] == "en"


def test_self_contained(page):
    for _, attributes in Reader(page).tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|\bimport\b", page)
    assert Reader(page).all("meta")[1]["content"].startswith("default-src 'none'; img-src data:;")


def test_everything_appears(report, page):
    text = Reader(page).text
    for value in ("79.25", "14.75", "12.5", "58.97", "281.5", "238.5", "999.5", "4.5", "1 min 21 s", "1 h 02 min"):
        assert value in text
    for words in ("Demo", "What ran", "make demo", "PyTorch", "2.13.0", "Test was used once.", "Java ended"):
        assert words in text
    for video in report.samples:
        assert video.video in text
        for part in video.clips:
            for sentence in (*part.sentences.values(), *part.references):
                assert sentence in text
    assert len(Reader(page).all("img")) == 12 * 5 * 4


def test_a_metric_that_did_not_run_says_so(page):
    assert re.search(r"METEOR.*?not run.*?Java ended", page, re.DOTALL)
    assert "None" not in Reader(page).text and "nan" not in Reader(page).text.split()


def test_best_value_is_bold_per_direction_and_never_a_published_one(page):
    table = page[page.index('class="systems"') :]
    bold = re.findall(r"<b>([\d.]+)", table[: table.index("</table>")])
    assert bold == ["281.5", "2.7"]


def test_size_of_a_page_as_large_as_the_demo(report, tmp_path):
    path = write_report(tmp_path / "new" / "report.html", report)
    assert 100_000 < path.stat().st_size < 3_000_000
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == render(report)


def test_hostile_text_stays_text(tmp_path):
    part = SampleClip(0, 2, [frame(1)], {HOSTILE: HOSTILE}, [HOSTILE, HOSTILE], [Flag(HOSTILE, True, HOSTILE)])
    points = [(1.0, 2.0), (2.0, 1.0)]
    table = SystemTable(HOSTILE, [Metric(HOSTILE, HOSTILE)], [SystemRow(HOSTILE, [1], note=HOSTILE)], HOSTILE)
    score = Score(HOSTILE, 1, HOSTILE, HOSTILE, HOSTILE, [(HOSTILE, 1)], 1, HOSTILE, group=HOSTILE)
    hostile = Report(
        HOSTILE, HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)], [score, replace(score, is_headline=True)], [table],
        [Sample(HOSTILE, [part], {HOSTILE: 1.0}, HOSTILE)], HOSTILE,
        [Distribution(HOSTILE, HOSTILE, {HOSTILE: [1.0]}, HOSTILE)],
        [Curve(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: points})],
        [Timing(HOSTILE, 1, HOSTILE)], [(HOSTILE, HOSTILE)], [HOSTILE], HOSTILE, HOSTILE,
    )  # fmt: skip
    path = write_report(tmp_path / "report.html", hostile)
    reader = Reader(path.read_text(encoding="utf-8"))
    assert len(reader.all("script")) == len(reader.all("style")) == len(reader.all("img")) == 1
    assert not [a for _, a in reader.tags if any(key.startswith("on") for key in a)]
    assert reader.text.count("alert(1)>") > 30


def test_an_empty_report_is_a_page():
    reader = Reader(render(Report("Nothing yet")))
    assert "Nothing yet" in reader.text
    assert not reader.all("section") and not reader.all("nav")


def test_marks_of_a_page(page):
    start = page.index("video_001")
    card = page[start : page.index("</article>", start)]
    assert card.count('<u title="in no reference">red</u>') == 5
    assert '<u title="in no reference">wall' not in card
    assert card.count('title="said before, in clip 1"') >= 4


def test_frames_as_arrays_and_bytes():
    buffer = io.BytesIO()
    Image.fromarray(frame(0)).save(buffer, "PNG")
    uri, width, height = image_uri(buffer.getvalue(), "here")
    assert (width, height) == (96, 96)
    assert uri == "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    uri, width, height = image_uri(frame(0, 640)[:320], "here")
    assert (width, height) == (224, 112)
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert image.format == "JPEG" and image.size == (224, 112)


@pytest.mark.parametrize("bad", [b"GIF89a", b"", b"\xff\xd8\xff\xe0", np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_a_frame_that_is_no_image_is_named(report, bad):
    part = replace(report.samples[0].clips[0], frames=[frame(0), bad])
    with pytest.raises(EvaluationError, match="video 'video_000', clip 1, frame 2"):
        render(replace(report, samples=[replace(report.samples[0], clips=[part])]))


def test_a_row_of_the_wrong_length_is_named_and_no_file_is_left(report, tmp_path):
    table = replace(report.systems[0], rows=[SystemRow("MART", [1.0])])
    with pytest.raises(EvaluationError, match=r"'MART'.*found 1 values"):
        write_report(tmp_path / "report.html", replace(report, systems=[table]))
    assert not list(tmp_path.iterdir())


def test_training_curves_from_records(tmp_path):
    loss, score = training_curves("Encoder", records())
    assert (loss.series["training"][0], loss.best) == ((1, 3.0), 6)
    assert score.series["validation"][-1] == (8, 70.0)
    with pytest.raises(EvaluationError, match="val_r1"):
        training_curves("Encoder", records(), {"R@1": {"val_r1": "R@1"}})
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0}\n{broken\n', encoding="utf-8")
    for path in (tmp_path / "metrics.jsonl", tmp_path / "absent.jsonl"):
        with pytest.raises(EvaluationError, match=path.name):
            read_metrics(path)


def test_one_epoch_and_broken_values_still_give_charts():
    nan = float("nan")
    curves = [Curve("a", "x", "y", {"one": [(1, 5.0)]}), Curve("b", "x", "y", {"gap": [(1, 1.0), (2, nan), (3, 2.0)]})]
    assert len(Reader(render(Report("t", curves=curves))).all("svg")) == 2
    assert "No values." in render(Report("t", curves=[Curve("c", "x", "y", {"none": [(1, nan)]})]))


def test_histogram_counts_every_value(report, page):
    section = page[page.index('id="distribution"') :]
    counts = [int(count) for count in re.findall(r"<title>[^<]* to [^<]*: (\d+)</title>", section)]
    assert sum(counts) == 6


@pytest.mark.parametrize("values", [[0.0, 1.0], [3.0, 3.0], [-1e-7, 2e-7], [12.0, 48_000.0], [0.0, 0.0]])
def test_axis_covers_its_values_with_few_distinct_ticks(values):
    axis = make_axis(values, 5, (0, 100), round_ends=True)
    assert axis.low <= min(values) and max(values) <= axis.high
    labels = [tick_text(value, axis.step) for value in axis.ticks()]
    assert 2 <= len(set(labels)) == len(labels) <= 8


def test_durations():
    assert [duration(s) for s in (0.44, 52.4, 59.7, 185, 7440)] == [
        "0.4 s",
        "52 s",
        "1 min 00 s",
        "3 min 05 s",
        "2 h 04 min",
    ]
