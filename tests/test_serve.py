"""The web page: captions stream in, subtitles come back, limits hold, nothing else of the disk is reachable."""

from __future__ import annotations

import base64
import http.client
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from captioner.segments import read_segments
from cootmart import Captioner
from cootmart.serve import Handler, Limits, Server
from tests.tiny_pipeline import make_model, make_video

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SENDER = {"X-Cootmart": "1"}


@pytest.fixture(scope="module")
def captioner(tmp_path_factory) -> Captioner:
    return Captioner.from_pretrained(make_model(tmp_path_factory.mktemp("model"), statistics=False))


@pytest.fixture
def server(captioner) -> Iterator[Server]:
    server = Server(captioner, ("127.0.0.1", 0), Limits(megabytes=0.5, minutes=0.2, seconds=60))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "v.mp4")


def ask(server: Server, method: str, path: str, body: bytes | None = None, headers: dict | None = None):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=100)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def events(body: bytes) -> list[dict]:
    return [json.loads(line) for line in body.splitlines()]


def uploads(server: Server) -> list[Path]:
    return list(Path(server.folder.name).iterdir())


def test_a_video_gets_its_sentences_and_subtitles(server, captioner, video, tmp_path):
    status, _, body = ask(server, "POST", "/videos?name=..%2Fmy%20%22v%22.mp4", video.read_bytes(), SENDER)
    assert status == 200
    kinds = [event["event"] for event in events(body) if event["event"] != "progress"]
    expected = captioner(video).sentences
    assert kinds == ["segments", *["sentence"] * len(expected), "done"]
    done = events(body)[-1]
    assert uploads(server) == []
    for kind in ("srt", "vtt", "json"):
        status, headers, text = ask(server, "GET", f"/videos/{done['id']}.{kind}")
        assert status == 200
        assert headers["Content-Disposition"] == f'attachment; filename="my__v_.{kind}"'
        (tmp_path / f"a.{kind}").write_bytes(text)
        found = read_segments(tmp_path / f"a.{kind}", 6.0)
        assert found == [pytest.approx((s.start, s.end), abs=1e-3) for s in expected]


@pytest.mark.parametrize(
    "path",
    [
        "/videos", "/videos/", "/videos/none.srt", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
        "/videos/..%2f..%2fetc%2fpasswd.srt", "/videos/AAAAAAAAAAAAAAAAAAAAAA.srt", "/page.js", "/?x",
    ],
)  # fmt: skip
def test_nothing_else_can_be_read(server, path):
    status, headers, body = ask(server, "GET", path)
    assert (status, body) == (404, b"there is nothing here\n") or (path == "/?x" and status == 200)
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_name_that_is_a_path_writes_nothing_there(server, video, tmp_path):
    target = tmp_path / "written.mp4"
    status, _, _ = ask(server, "POST", f"/videos?name={target}", video.read_bytes(), SENDER)
    assert status == 200
    assert not target.exists()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "said"),
    [
        ("/videos", b"x", {}, 403, "X-Cootmart"),
        ("/else", b"x", SENDER, 404, "nothing here"),
        ("/videos", b"", {**SENDER, "Content-Length": "600000"}, 413, "found 0.6 MB, at most 0.5"),
        ("/videos", b"", {**SENDER, "Content-Length": "-5"}, 411, "Content-Length"),
    ],
)
def test_what_is_refused(server, path, body, headers, status, said):
    found, _, text = ask(server, "POST", path, body, headers)
    assert found == status
    assert said in text.decode()
    assert uploads(server) == []


def test_what_is_no_video_is_said_without_a_path(server):
    status, _, body = ask(server, "POST", "/videos?name=list.mp4", b"milk and bread\n" * 50, SENDER)
    assert status == 200
    (event,) = events(body)
    assert event["event"] == "error"
    assert event["message"].startswith("list.mp4: not a video")
    assert "/tmp" not in event["message"]
    assert uploads(server) == []


def test_a_long_video_is_refused(server, tmp_path):
    path = make_video(tmp_path / "long.mp4", 20.0, rate=2)
    *_, last = events(ask(server, "POST", "/videos?name=long.mp4", path.read_bytes(), SENDER)[2])
    assert last["event"] == "error"
    assert "longer than 0.2 minutes" in last["message"]


def test_a_video_longer_than_its_header_says_and_a_slow_one_are_stopped(captioner, video, monkeypatch):
    limits = Limits(minutes=0.05, seconds=1e-9)
    info = type("Info", (), {"duration": 1.0})
    monkeypatch.setattr("cootmart.serve.probe", lambda path: info)
    for changed, said in ((Limits(minutes=0.05), "longer than 0.05 minutes"), (limits, "decoding took longer")):
        server = Server(captioner, ("127.0.0.1", 0), changed)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        *_, last = events(ask(server, "POST", "/videos", video.read_bytes(), SENDER)[2])
        server.shutdown()
        server.server_close()
        assert said in last["message"]


def test_too_many_at_a_time_are_told_to_come_back(server, video):
    while server.places.acquire(blocking=False):
        pass
    status, _, text = ask(server, "POST", "/videos", video.read_bytes(), SENDER)
    assert status == 503
    assert b"try again" in text


def test_an_upload_that_breaks_off_leaves_nothing(server):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=100)
    connection.request("POST", "/videos", b"abc", {**SENDER, "Content-Length": "1000"})
    connection.sock.shutdown(1)
    assert connection.getresponse().status == 400
    assert uploads(server) == []


ACTIONS = """
window.addEventListener("load", async () => {
  const $ = (s) => document.querySelector(s), $$ = (s) => [...document.querySelectorAll(s)];
  const until = async (met) => { while (!met()) await new Promise((done) => setTimeout(done, 20)); };
  const out = {}, data = Uint8Array.from(atob("VIDEO"), (c) => c.charCodeAt(0));
  const give = (file) => {
    const given = new DataTransfer();
    given.items.add(file);
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
  };
  give(new File([new Uint8Array(600000)], "large.mp4"));
  out.large = $("#status").textContent;
  give(new File(["bread"], "list.mp4"));
  await until(() => $("#status").textContent.includes("not a video"));
  out.broken = $$("#line button").length;
  give(new File([data], "v.mp4", { type: "video/mp4" }));
  await until(() => $$("#downloads a").length);
  out.status = $("#status").textContent;
  out.clips = $$("#line button").map((b) => [b.dataset.start, b.dataset.end, b.className]);
  out.said = $$(".said").map((s) => s.textContent);
  out.links = $$("#downloads a").map((a) => a.textContent);
  out.srt = await (await fetch($$("#downloads a")[1].href)).text();
  await until(() => $("video").readyState >= 1);
  out.duration = Math.round($("video").duration);
  $$("#line button").at(-1).click();
  out.at = $("video").currentTime;
  out.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  await fetch("result", { method: "POST", body: JSON.stringify(out) });
});
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_in_a_browser(server, captioner, video, tmp_path):
    results: queue.Queue[dict] = queue.Queue()

    class Listening(Handler):
        def do_POST(self) -> None:  # noqa: N802
            if self.path == "/result":
                results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer("text/plain", "thanks")
            else:
                super().do_POST()

    server.RequestHandlerClass = Listening
    actions = ACTIONS.replace("VIDEO", base64.b64encode(video.read_bytes()).decode())
    server.page = server.page.replace("</script>", actions + "</script>")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", server.url,
    ]  # fmt: skip
    with subprocess.Popen([*command, "--remote-debugging-port=0"], stderr=subprocess.DEVNULL) as browser:
        try:
            out = results.get(timeout=100)
        finally:
            browser.kill()
    expected = captioner(video).sentences
    assert out["large"] == "large.mp4 has 1 MB, at most 0.5 are taken"
    assert out["broken"] == 0
    assert out["status"].startswith("v.mp4")
    assert [[float(start), float(end)] for start, end, _ in out["clips"]] == [[s.start, s.end] for s in expected]
    assert not any("waiting" in name for *_, name in out["clips"])
    assert len(out["said"]) == len(expected)
    assert out["links"] == ["txt", "srt", "vtt", "json"]
    assert out["srt"].count("-->") == len(expected)
    assert out["duration"] == 6
    assert out["at"] == expected[-1].start
    assert out["wide"] <= 0
