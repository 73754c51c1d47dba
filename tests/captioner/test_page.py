"""The page of a captioned video: what it holds, and that clips and sentences play in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from captioner.page import clock, lanes_of, source_of, to_html
from captioner.paragraph import Paragraph, Sentence, alike, to_json, to_srt, to_vtt
from captioner.segments import read_segments
from tests.tiny_pipeline import make_video

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SENTENCES = (
    Sentence(0.0, 2.0, "a <b>red</b> ball hops .", ("it's a ball .",)),
    Sentence(2.5, 5.0, "it leaves"),
    Sentence(4.0, 6.0, "the box & the wall"),
)
PARAGRAPH = Paragraph('my "video".mp4', SENTENCES, ("features are <foreign>",))

ACTIONS = """<script>
window.addEventListener("load", () => {
  const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];
  const video = $("video"), out = {};
  const now = () => $$("#line button").map((b) => b.classList.contains("now"));
  const run = () => {
    out.duration = Math.round(video.duration);
    out.start = now();
    $$("#line button")[1].click();
    out.click = [video.currentTime, now(), $$(".said").map((s) => s.classList.contains("now")), $("#at").style.left];
    $$(".said")[2].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    out.enter = [video.currentTime, now()];
    out.lanes = $$("#line button").map((b) => b.getBoundingClientRect().top);
    out.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    document.title = JSON.stringify(out);
  };
  if (video.readyState >= 1) run(); else video.addEventListener("loadedmetadata", () => setTimeout(run));
});
</script>"""


def test_everything_is_escaped_and_nothing_is_outside(tmp_path):
    video = make_video(tmp_path / "v.mp4")
    page = to_html(PARAGRAPH, 6.0, source_of(video, tmp_path / "page.html"))
    assert "<b>red" not in page
    assert "&lt;foreign&gt;" in page
    assert "it&#x27;s a ball" in page.lower()
    assert set(re.findall(r'(?:src|href)="(\w+:?)', page)) == {"data:"}
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)


def test_large_videos_are_linked(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    video = make_video(tmp_path / "my video.mp4")
    monkeypatch.setattr("captioner.page.MOST_EMBEDDED", 100)
    assert source_of(video, tmp_path / "out" / "page.html") == "../my%20video.mp4"
    assert source_of("https://a.b/v.mp4", tmp_path / "page.html") == "https://a.b/v.mp4"


def test_lanes_and_clock():
    assert lanes_of([(0, 2), (1, 3), (2, 4), (2.5, 3), (5, 6)]) == [0, 1, 0, 2, 0]
    assert lanes_of([]) == []
    assert [clock(x) for x in (0, 61.25, 59.96, 3725)] == ["0:00.0", "1:01.2", "1:00.0", "1:02:05.0"]


def test_subtitles_can_be_read_back_as_segments(tmp_path):
    for name, text in (("a.srt", to_srt(PARAGRAPH)), ("a.vtt", to_vtt(PARAGRAPH)), ("a.json", to_json(PARAGRAPH))):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_segments(tmp_path / name, 6.0) == [(s.start, s.end) for s in SENTENCES]


def test_json_tells_alternatives_and_warnings_only_where_there_are_any():
    content = json.loads(to_json(PARAGRAPH))
    assert content["warnings"] == ["features are <foreign>"]
    assert ["alternatives" in sentence for sentence in content["sentences"]] == [True, False, False]
    assert "warnings" not in json.loads(to_json(Paragraph("v", SENTENCES)))


@pytest.mark.parametrize(
    ("texts", "warns"),
    [
        (["a red ball hops"] * 5, True),
        (["a red ball hops", "a red ball hops then", "a red ball hops", "the ball leaves", "a red ball hops"], True),
        (["a red ball hops", "it leaves", "the wall trembles", "a box falls"], False),
        (["a red ball hops"] * 3, False),
        ([], False),
    ],
)
def test_sentences_that_are_alike(texts, warns):
    found = alike([Sentence(i, i + 1, text) for i, text in enumerate(texts)])
    assert bool(found) == warns


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_clips_play_in_a_browser(tmp_path):
    path, video = tmp_path / "page.html", make_video(tmp_path / "v.mp4")
    page = to_html(PARAGRAPH, 6.0, source_of(video, path))
    path.write_text(page.replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--timeout=20000",
        "--virtual-time-budget=10000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    out = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", result.stdout, re.DOTALL).group(1)))
    assert out["duration"] == 6
    assert out["start"] == [True, False, False]
    assert out["click"][:3] == [2.5, [False, True, False], [False, True, False]]
    assert out["click"][3].startswith("41.6")
    assert out["enter"] == [4, [False, True, True]]
    assert out["lanes"][0] == out["lanes"][1] < out["lanes"][2]
    assert out["wide"] <= 0
