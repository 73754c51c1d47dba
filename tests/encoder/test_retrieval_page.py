"""``cootmart retrieve --report``: the page agrees with the scores and with the annotations."""

from __future__ import annotations

import html
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from cootmart.cli import main
from cootmart.retrieval.labels import label_rows
from cootmart.retrieval.maps import clip_map, video_map
from encoder.data.meta import load_meta, save_meta
from encoder.embeddings import Embeddings, EmbeddingsWriter
from encoder.retrieval import evaluate
from tests.encoder.tiny import video

pytest.importorskip("sklearn")

VIDEOS = 24
TOPICS = ("soup", "bread", "salad")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Embeddings of 24 videos of three topics with 1 to 4 clips each, and annotations without groups."""
    folder = tmp_path_factory.mktemp("page")
    videos = [video(f"{TOPICS[i % 3]}_{i:02d}", 1 + i % 4, "val") for i in range(VIDEOS)]
    save_meta(folder / "meta_all.json", videos)
    save_meta(folder / "groups.json", [replace(v, group=v.key.split("_")[0]) for v in videos])
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((3, 8))
    high = topics[[i % 3 for i in range(VIDEOS)]] + 0.3 * rng.standard_normal((VIDEOS, 8))
    clips = rng.standard_normal((sum(len(v.segments) for v in videos), 6))
    arrays = {"vid_emb": high, "vid_context": high[:, :6], "clip_emb": clips}
    arrays |= {"par_emb": high + 0.2 * rng.standard_normal(high.shape), "par_context": high[:, :6]}
    arrays |= {"sent_emb": clips + rng.standard_normal(clips.shape)}
    with EmbeddingsWriter(folder / "e.h5") as out:
        out.append([v.key for v in videos], [len(v.segments) for v in videos], arrays)
    return folder


def run(files, *more: str) -> int:
    return main(["retrieve", "--embeddings", str(files / "e.h5"), *more])


@pytest.fixture(scope="module")
def page(files) -> str:
    assert run(files, "--meta", str(files / "meta_all.json"), "--report", str(files / "out.html")) == 0
    return html.unescape((files / "out.html").read_text(encoding="utf-8"))


def test_scores_are_those_of_the_file(files, page):
    scores = evaluate(Embeddings.load(files / "e.h5"))
    tables = re.findall(r'<table class="recalls">.*?</table>', page)
    shown = [
        re.findall(r"<td[^>]*>([\d.]+)", row) for table in tables for row in re.findall(r"<tr>.*?</tr>", table)[1:]
    ]
    for way, row in zip(("vid2par", "par2vid", "cli2sen", "sen2cli"), shown, strict=True):
        wanted = [100 * scores[f"{way}-r{k}"] for k in (1, 5, 10, 50)] + [scores[f"{way}-medr"], scores[f"{way}-meanr"]]
        assert [float(value) for value in row] == pytest.approx(wanted, abs=0.051)
    assert "chance, of 24" in page and "chance, of 60" in page


def test_queries_and_texts(page):
    assert page.count('<article class="queries card"') == 4
    assert "Sentence → clip" in page and "step 0 of soup_00." in page
    assert page.count("✓ right") == page.count('<details class="query"') > 12
    assert re.search(r"soup_00, clip 1, 0.0.2.2 s", page)
    found = re.search(r"Of 60 queries (\d+) find their own counterpart first, (\d+) among the first 5, (\d+)", page)
    assert sum(map(int, found.groups())) == 60
    assert "cootmart retrieve --embeddings" in page and "--top" not in page


def test_the_same_command_gives_the_same_page(files, page, tmp_path):
    again = tmp_path / "out.html"
    assert run(files, "--meta", str(files / "meta_all.json"), "--report", str(again)) == 0
    assert html.unescape(again.read_text(encoding="utf-8")).replace(str(again), str(files / "out.html")) == page


def test_maps(files):
    e = Embeddings.load(files / "e.h5")
    labels = label_rows(e, files / "groups.json")
    videos = video_map(e, labels)
    assert videos.groups == sorted(TOPICS) and len(videos.marks) == 2 * VIDEOS
    assert videos.links[5] == (5, VIDEOS + 5)
    for a, b in videos.links:
        assert (videos.marks[a].kind, videos.marks[b].kind) == ("video", "paragraph")
        assert videos.marks[a].group == videos.marks[b].group == e.keys[a].split("_")[0]
    assert clip_map(e, labels).groups == sorted(TOPICS)
    many = replace(labels, groups=[f"g{i % 12:02}" for i in range(VIDEOS - 1)] + ["g01"])
    assert video_map(e, many).groups == clip_map(e, many).groups == [f"g{i:02}" for i in range(10)]
    assert "the 10 largest of the 12 groups" in video_map(e, many).note
    plain = clip_map(e, label_rows(e, files / "meta_all.json"))
    assert plain.groups == ["beginning", "middle", "end"]
    assert [mark.group for mark in plain.marks[:10]] == [
        "beginning", "beginning", "end", "beginning", "middle", "end", "beginning", "middle", "middle", "end",
    ]  # fmt: skip


def test_clusters_are_called_by_their_words(files):
    e = Embeddings.load(files / "e.h5")
    labels = label_rows(e)
    words = [f"stir the {key.split('_')[0]}" for key in e.keys]
    named = video_map(e, replace(labels, paragraphs=words)).groups
    assert named and all(any(topic in name for topic in TOPICS) and "stir" not in name for name in named)
    assert video_map(e, labels).groups[0] == "cluster 1"


def test_without_annotations_names_stand_for_texts(files):
    assert run(files, "--report", str(files / "bare.html"), "--top", "1", "--examples", "1", "--seed", "3") == 0
    page = (files / "bare.html").read_text(encoding="utf-8")
    assert "No annotations were given" in page and "soup_00, clip 1" in page
    assert "--top 1 --examples 1 --seed 3" in page


def test_words_that_several_clips_share(files):
    videos = [
        replace(v, segments=tuple(replace(s, text="Stir it") for s in v.segments))
        for v in load_meta(files / "meta_all.json")
    ]
    save_meta(files / "same.json", videos)
    assert run(files, "--meta", str(files / "same.json"), "--report", str(files / "same.html")) == 0
    page = (files / "same.html").read_text(encoding="utf-8")
    assert "60 of 60 sentences are said of another clip too" in page and '<span class="tag">same words</span>' in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "expected a sentence to search with, or --report to write a page; found neither"),
        (["stir", "--report", "x.html"], "found both"),
        (["stir"], "retrieve: no --model"),
        (["--report", "x.html", "--top", "0"], "top: found 0"),
        (["--report", "x.html", "--examples", "0"], "examples: found 0"),
        (["--report", "x.html", "--meta", "none.json"], "none.json: no such file"),
        (["--report", "x.html", "--meta", "other.json"], "other.json: no video 'soup_00'"),
        (["--report", "x.html", "--meta", "short.json"], "short.json: bread_01: found 1 segments, but"),
    ],
)
def test_wrong_input(files, tmp_path, monkeypatch, capsys, more, said):
    monkeypatch.chdir(tmp_path)
    videos = load_meta(files / "meta_all.json")
    save_meta("other.json", [v for v in videos if v.key != "soup_00"])
    save_meta("short.json", [replace(v, segments=v.segments[:1]) for v in videos])
    assert run(files, *more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_a_missing_extra_is_named_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert main(["retrieve", "--embeddings", "none.h5", "--report", str(tmp_path / "x.html")]) == 2
    assert "pip install 'cootmart[report]'" in capsys.readouterr().err


def test_a_file_without_text(files, tmp_path, capsys):
    e = Embeddings.load(files / "e.h5")
    with EmbeddingsWriter(tmp_path / "v.h5") as out:
        arrays = {"vid_emb": e.vid_emb, "vid_context": e.vid_context, "clip_emb": e.clip_emb}
        out.append(e.keys, e.clip_num, arrays)
    assert main(["retrieve", "--embeddings", str(tmp_path / "v.h5"), "--report", str(tmp_path / "x.html")]) == 2
    assert "no par_emb and sent_emb" in capsys.readouterr().err
