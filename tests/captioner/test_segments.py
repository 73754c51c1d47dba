"""Given segments: every file form that is read, and what is said of one that is wrong."""

from __future__ import annotations

import json

import pytest

from captioner.segments import by_length, check_segments, read_segments, uniform
from training.errors import CootmartError

EXPECTED = [(0.0, 2.5), (3.0, 10.0)]
SRT = "1\n00:00:00,000 --> 00:00:02,500\nHello.\n\n2\n00:00:03,000 --> 00:00:12,000\nBye\nand bye.\n"
VTT = "WEBVTT\n\n00:00.000 --> 00:02.500 align:start\nHello.\n\n01:\n00:00:03.000 --> 00:00:12.000\nBye.\n"
FORMS = {
    "pairs.json": json.dumps([[0, 2.5], [3, 12]]),
    "objects.json": json.dumps([{"start": 0, "end": 2.5}, {"start": 3, "end": 12}]),
    "captions.json": json.dumps({"video": "v", "sentences": [{"start": 0, "end": 2.5}, {"start": 3, "end": 12}]}),
    "meta.json": json.dumps({"v": {"segments": [{"start_sec": 0, "stop_sec": 2.5}, {"start_sec": 3, "stop_sec": 12}]}}),
    "plain.csv": "0,2.5\n3,12\n",
    "header.csv": "\ufeffstart,end\n0,2.5\n3,12\n",
    "table.csv": "video,text,start_sec,stop_sec\nu,x,7,8\nv,a,0,2.5\nv.mp4,b,3,12\n",
    "a.srt": SRT,
    "windows.srt": SRT.replace("\n", "\r\n"),
    "a.vtt": VTT,
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_segments_cut_at_the_end(tmp_path, name):
    (tmp_path / name).write_bytes(FORMS[name].encode())
    assert read_segments(tmp_path / name, 10.0, "v.mp4") == EXPECTED


def test_a_folder_has_a_file_for_each_video(tmp_path):
    (tmp_path / "v.srt").write_text(SRT, encoding="utf-8")
    assert read_segments(tmp_path, 10.0, "v.mp4") == EXPECTED
    with pytest.raises(CootmartError, match=r"no segments of 'u\.mp4'; expected u\.json"):
        read_segments(tmp_path, 10.0, "u.mp4")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[[0, 1], [5, 2]]", "segment 1: found 5.0 to 2.0"),
        ("a.json", "[[0, 1], [11, 12]]", "inside the video of 10.00 seconds"),
        ("a.json", "[[-1, 1]]", "segment 0"),
        ("a.json", "[[0, NaN]]", "segment 0"),
        ("a.json", '["ab", 3]', "segment 0"),
        ("a.json", "{}", "found no segments"),
        ("a.json", "nonsense", "not a JSON file"),
        ("a.csv", "start,end\n", "found no segments"),
        ("a.csv", "0,1,2\n", "segment 0"),
        ("a.csv", "video,start,end\nu,0,1\n", "found no segments"),
        ("a.srt", "nothing here", "found no segments"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, text, said):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CootmartError, match=said) as raised:
        read_segments(tmp_path / name, 10.0, "v")
    assert name in str(raised.value)


def test_missing_and_binary_files(tmp_path):
    for name in ("none.json", "none.csv", "none.srt"):
        with pytest.raises(CootmartError, match="no such file"):
            read_segments(tmp_path / name, 10.0)
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CootmartError, match="UTF-8"):
        read_segments(tmp_path / "a.csv", 10.0)


def test_even_ones():
    assert uniform(6, 3) == [(0, 2), (2, 4), (4, 6)]
    assert by_length(6, 4) == [(0, 3), (3, 6)]
    assert check_segments([("0", 20)], 10.0) == [(0.0, 10.0)]
    for bad in (lambda: uniform(6, 0), lambda: by_length(6, 0), lambda: by_length(6, float("nan"))):
        with pytest.raises(CootmartError, match="expected"):
            bad()
