"""`cootmart caption` and `Captioner`: every way to say where segments are, every output, batches that go on."""

from __future__ import annotations

import http.server
import json
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from captioner.config import DecodingOptions
from cootmart import Captioner
from cootmart.batch import caption_videos, find_all, output_names
from cootmart.cli import main
from cootmart.commands.caption import decoding_options
from encoder.features.video import name_of, probe
from tests.tiny_pipeline import make_model, make_video
from training.errors import CootmartError


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A model and three videos, one of them broken."""
    folder = tmp_path_factory.mktemp("caption")
    make_model(folder / "model")
    (folder / "videos").mkdir()
    for i in range(2):
        make_video(folder / "videos" / f"v{i}.mp4", seed=i)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="module")
def captioner(place) -> Captioner:
    return Captioner.from_pretrained(place / "model" / "captioner")


@pytest.fixture
def command(place):
    """Run `cootmart caption` with the model."""
    return lambda *words: main(["caption", *map(str, words), "--model", str(place / "model" / "captioner")])


@pytest.mark.parametrize("how", ["auto", "learnt", "changes", "uniform"])
def test_segments_are_found_without_annotations(captioner, place, how):
    paragraph = captioner(place / "videos" / "v0.mp4", segments=how)
    assert paragraph.sentences
    assert all(0 <= s.start < s.end <= 6.01 for s in paragraph.sentences)
    starts = [s.start for s in paragraph.sentences]
    assert starts == sorted(starts)


def test_given_segments(captioner, place, tmp_path):
    video, given = place / "videos" / "v0.mp4", [(0.0, 2.0), (2.5, 5.0)]
    (tmp_path / "s.json").write_text(json.dumps(given), encoding="utf-8")
    for segments in (given, tmp_path / "s.json", str(tmp_path / "s.json"), np.array(given)):
        assert [(s.start, s.end) for s in captioner(video, segments=segments).sentences] == given
    assert len(captioner(video, count=3).sentences) == 3
    assert len(captioner(video, seconds=2).sentences) == 3
    for bad in ([(4.0, 3.0)], [], [(9.0, 10.0)]):
        with pytest.raises(CootmartError, match="expected"):
            captioner(video, segments=bad)


def test_auto_without_a_boundary_network_cuts_where_features_change(place, tmp_path):
    plain = Captioner.from_pretrained(make_model(tmp_path, learnt=False, statistics=False))
    video = place / "videos" / "v0.mp4"
    assert plain(video) == plain(video, segments="changes")
    assert plain(video).warnings == ()
    with pytest.raises(CootmartError, match="not learnt"):
        plain(video, segments="learnt")


def test_scenes_need_an_extra_or_work(captioner, place):
    video = place / "videos" / "v0.mp4"
    try:
        import scenedetect  # noqa: F401
    except ImportError:
        with pytest.raises(CootmartError, match=r"cootmart\[scenes\]"):
            captioner(video, segments="scenes")
    else:
        sentences = captioner(video, segments="scenes").sentences
        assert sentences[0].start == 0
        assert sentences[-1].end == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("model", ["mart", "norec", "xl"])
def test_streaming_gives_the_same_sentences_one_by_one(place, tmp_path, model):
    captioner = Captioner.from_pretrained(make_model(tmp_path, model=model))
    video, options = place / "videos" / "v1.mp4", DecodingOptions("beam", beam_size=3)
    for decoding in (None, options):
        stream = captioner.stream(video, count=4, decoding=decoding)
        first = next(stream)
        assert (first, *stream) == captioner(video, count=4, decoding=decoding).sentences


def test_several_ways_to_say_it(captioner, place):
    options = decoding_options(["beam", "beam_size=4", "n_best=3"])
    sentences = captioner(place / "videos" / "v0.mp4", count=2, decoding=options).sentences
    best = captioner(place / "videos" / "v0.mp4", count=2, decoding=DecodingOptions("beam", beam_size=4)).sentences
    for sentence in sentences:
        assert len(sentence.alternatives) <= 2
        assert len({sentence.text, *sentence.alternatives}) == 1 + len(sentence.alternatives)
    assert any(sentence.alternatives for sentence in sentences)
    assert len(best) == 2
    assert not best[0].alternatives


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dance"], "one of greedy"),
        (["beam", "beam_sice=3"], "did you mean 'beam_size'"),
        (["beam", "a.mp4"], "videos go before"),
        (["sample", "temperature=0"], "temperature"),
    ],
)
def test_wrong_decoding_options(words, said):
    with pytest.raises(CootmartError, match=said):
        decoding_options(words)


def test_foreign_features_and_sentences_that_are_alike_are_warned_of(captioner, place, command, capsys):
    paragraph = captioner(place / "videos" / "v0.mp4", count=6)
    assert any("features are foreign" in warning for warning in paragraph.warnings)  # the model's are random numbers
    assert command(place / "videos" / "v0.mp4") == 0
    shown = capsys.readouterr()
    assert "warning" in shown.err
    assert "foreign" in shown.err
    assert shown.out.count("\n") == 1


def test_all_formats_into_a_folder(command, place, tmp_path, capsys):
    formats = ["txt", "json", "srt", "vtt", "html"]
    words = ["--count", 3, "--out", tmp_path / "out", "--format", *formats]
    assert command(place / "videos" / "v0.mp4", *words) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*(f"v0.{f}" for f in formats), "settings.json"}
    content = json.loads((tmp_path / "out" / "v0.json").read_text(encoding="utf-8"))
    assert content["video"] == "v0.mp4"
    assert len(content["sentences"]) == 3
    page = (tmp_path / "out" / "v0.html").read_text(encoding="utf-8")
    assert 'src="data:video/mp4;base64,' in page
    assert page.count('class="said"') == 3


def test_a_batch_goes_on_past_a_broken_file_and_can_be_resumed(command, place, tmp_path, capsys):
    out = tmp_path / "out"
    words = [place / "videos", "--format", "json", "srt", "--count", 2, "--out", out]
    assert command(*words) == 2
    shown = capsys.readouterr().err
    assert "broken.mp4: not a video" in shown
    assert "1 of 3 videos have no captions" in shown
    assert {p.name for p in out.glob("v*")} == {"v0.json", "v0.srt", "v1.json", "v1.srt"}
    before = {p: p.stat().st_mtime_ns for p in out.glob("v*")}
    (out / "v1.srt").unlink()
    assert command(*words, "--resume") == 2
    after = {p: p.stat().st_mtime_ns for p in out.glob("v*")}
    assert {p.name for p in before if before[p] != after[p]} == {"v1.json", "v1.srt"}
    assert "1 of 3 videos are captioned already" in capsys.readouterr().err
    words[words.index("--count") + 1] = 3
    assert command(*words, "--resume") == 2
    assert "made with count 2, now it is 3" in capsys.readouterr().err


def test_a_folder_of_segments_one_file_a_video(command, place, tmp_path):
    (tmp_path / "v0.csv").write_text("start,end\n0,1\n2,3\n", encoding="utf-8")
    (tmp_path / "v1.json").write_text("[[1, 5]]", encoding="utf-8")
    videos = [place / "videos" / f"v{i}.mp4" for i in range(2)]
    assert command(*videos, "--segments", tmp_path, "--format", "json", "--out", tmp_path / "out") == 0
    times = [json.loads((tmp_path / "out" / f"v{i}.json").read_text("utf-8"))["sentences"] for i in range(2)]
    assert [[(s["start"], s["end"]) for s in each] for each in times] == [[(0, 1), (2, 3)], [(1, 5)]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "html"], "need --out"),
        (["--resume"], "need --out"),
        (["--segments", "none.csv"], "none.csv: no such file"),
        (["--decoding", "beam", "x=1"], "unknown option 'x'"),
    ],
)
def test_wrong_asks(command, place, capsys, words, said):
    assert command(place / "videos" / "v0.mp4", *words) == 2
    assert said in capsys.readouterr().err


def test_a_url(captioner, place):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place / "videos")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert name_of(f"{url}/a%20b/v0.mp4?x=1") == "v0.mp4"
        assert captioner(f"{url}/v0.mp4") == captioner(place / "videos" / "v0.mp4")
        for missing in (f"{url}/none.mp4", f"{url}/broken.mp4", "http://127.0.0.1:9/v.mp4", url):
            with pytest.raises(CootmartError, match=r"not a video that can be read.*address of a video file"):
                probe(missing)
    finally:
        server.shutdown()


def test_decoding_runs_ahead_but_not_away(captioner, place, monkeypatch):
    """Memory holds a few videos, however many there are."""
    watched, written, lead = [], [], []
    watch, paragraphs = captioner.watch, captioner.paragraphs
    monkeypatch.setattr("cootmart.batch.AHEAD", 2)
    monkeypatch.setattr(captioner, "watch", lambda video, **ask: watched.append(video) or watch(video, **ask))

    def write(seen, decoding):
        lead.append(len(watched) - len(written))
        written.extend(seen)
        return paragraphs(seen, decoding)

    monkeypatch.setattr(captioner, "paragraphs", write)
    videos = [place / "videos" / "v0.mp4"] * 12
    assert len(list(caption_videos(captioner, videos, workers=2, count=1))) == 12
    assert max(lead) <= 4
    assert max(lead) >= 2


def test_a_folder_with_folders_and_odd_names(command, place, tmp_path, capsys):
    """Outputs lie as the videos do; hidden files are none of them; a list of failures is kept."""
    odd = ("a b.mp4", "deep/er/a b.mp4", "deep/é中 \"quoted\" 'x' 100% #1 ?y=1&z.MP4", "deep/two\nlines.mp4")
    for name in (*odd, "deep/.hidden.mp4", ".git/v.mp4", "deep/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).symlink_to(place / "videos" / "v0.mp4")
    (tmp_path / "in" / "deep" / "bad.mov").write_bytes(b"x")
    words = [tmp_path / "in", "--count", 1, "--out", tmp_path / "out", "--format", "html", "srt"]
    assert command(*words) == 2
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == {f"{n[:-4]}.{k}" for n in odd for k in ("html", "srt")} | {"settings.json", "failures.json"}
    failures = json.loads((tmp_path / "out" / "failures.json").read_text("utf-8"))
    assert list(failures) == [str(tmp_path / "in" / "deep" / "bad.mov")]
    (tmp_path / "in" / "deep" / "bad.mov").unlink()
    assert command(*words, "--resume") == 0
    assert not (tmp_path / "out" / "failures.json").exists()
    capsys.readouterr()
    assert command(tmp_path / "in") == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 4
    assert shown[0].startswith("a b.mp4: ")
    assert any(line.startswith("deep/two lines.mp4: ") for line in shown)


def test_segments_by_name_need_names_that_differ(command, place, tmp_path, capsys):
    for name in ("x/v0.mp4", "y/v0.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).symlink_to(place / "videos" / "v0.mp4")
    (tmp_path / "segments").mkdir()
    assert command(tmp_path / "in", "--segments", tmp_path / "segments") == 2
    assert "x/v0.mp4 and y/v0.mp4 would get the same segments" in capsys.readouterr().err


def test_captions_do_not_replace_the_lists_beside_them(command, place, tmp_path, capsys):
    for name in ("settings.mp4", "v.mp4"):
        (tmp_path / name).symlink_to(place / "videos" / "v0.mp4")
    words = [tmp_path / "settings.mp4", tmp_path / "v.mp4", "--count", 1, "--out", tmp_path / "out"]
    assert command(*words, "--format", "json") == 2
    assert "settings.mp4: its captions would replace" in capsys.readouterr().err
    assert command(*words, "--format", "srt") == 0


def test_a_file_url_and_what_is_none(captioner, place, tmp_path):
    video = tmp_path / "a b#1.mp4"
    video.symlink_to(place / "videos" / "v0.mp4")
    assert find_all([video.as_uri()]) == {video: "a b#1.mp4"}
    assert captioner(video.as_uri(), count=1).sentences == captioner(video, count=1).sentences
    with pytest.raises(CootmartError, match=r"no such file; check the spelling .*a URL starts with https://"):
        probe("example.com/v.mp4")


def test_names_of_outputs(tmp_path):
    a, b, c = (Path(p) for p in ("x/a.mp4", "x/b.mp4", "x/a.mkv"))
    url = "http://h/c.mp4?q"
    assert list(output_names(find_all([a, b, url])).values()) == ["a", "b", "c"]
    assert list(output_names(find_all([a, c])).values()) == ["a.mp4", "a.mkv"]
    for videos in ([a, Path("y/a.mp4")], ["http://h/"]):
        with pytest.raises(CootmartError):
            output_names(find_all(videos))
    with pytest.raises(CootmartError, match="no video file in this folder"):
        find_all([tmp_path])
