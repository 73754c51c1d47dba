import json
from dataclasses import replace

import pytest

from encoder.data.convert import from_activitynet, from_csv, from_youcook2
from encoder.data.meta import Segment, Video, examine_meta, load_meta, save_meta, select
from tests.encoder.tiny import video
from training.errors import CootmartError


def entry(**changes):
    segment = {"text": "stir the soup", "start_sec": 1, "stop_sec": 4.5}
    segment |= {k: changes.pop(k) for k in ("text", "start_sec", "stop_sec") if k in changes}
    return {"data_key": "a", "duration_sec": 10.5, "split": "train", "segments": [segment], **changes}


def write(path, entries):
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def test_round_trip(tmp_path):
    videos = [video("b", 3), video("a", 1, "val")]
    save_meta(tmp_path / "meta_all.json", videos)
    assert load_meta(tmp_path / "meta_all.json") == [videos[1], videos[0]]  # sorted by key
    assert examine_meta(tmp_path / "meta_all.json")[1] == []


def test_groups_are_kept_and_left_out_where_there_are_none(tmp_path):
    videos = [replace(video("a", 1), group="soup"), video("b", 1)]
    save_meta(tmp_path / "meta_all.json", videos)
    assert load_meta(tmp_path / "meta_all.json") == videos
    entries = json.loads((tmp_path / "meta_all.json").read_text(encoding="utf-8"))
    assert entries["a"]["group"] == "soup" and "group" not in entries["b"]


def test_order_of_the_file_is_kept(tmp_path):
    path = write(tmp_path / "m.json", {"b": entry(), "a": entry()})
    assert [v.key for v in load_meta(path)] == ["b", "a"]
    assert load_meta(path)[0] == Video("b", "a", "train", 10.5, (Segment("stir the soup", 1.0, 4.5),))


def test_many_clips_and_a_stop_beyond_the_end_are_fine(tmp_path):
    save_meta(tmp_path / "m.json", [video("a", 120)])
    assert len(load_meta(tmp_path / "m.json")[0].segments) == 120
    assert load_meta(write(tmp_path / "n.json", {"a": entry(stop_sec=11)}))[0].segments[0].stop_sec == 11


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (entry(start_sec=10.5, stop_sec=12), "start_sec 10.5 lies outside the video, expected 0 to 10.5"),
        (entry(start_sec=-1), "start_sec -1 lies outside"),
        (entry(start_sec=5), "stop_sec 4.5 lies before start_sec 5"),
        (entry(stop_sec=float("nan")), "expected seconds"),
        (entry(stop_sec=None), "stop_sec None, expected seconds"),
        (entry(stop_sec=10**400), "expected seconds"),
        (entry(text="  "), "text: found '  ', expected a sentence"),
        (entry(text=None), "expected a sentence"),
        (entry(text="caf\ufffd"), "replacement character"),
        (entry(segments=[]), "at least one segment"),
        (entry(segments=["x"]), "segment 0: found str"),
        (entry(duration_sec=0), "expected seconds above 0"),
        (entry(duration_sec=True), "expected seconds above 0"),
        (entry(data_key=7), "data_key: found 7"),
        (entry(split=""), "split: found ''"),
        (entry(group=7), "group: found 7"),
        ("x", "found str, expected data_key"),
    ],
)
def test_bad_entries_name_file_and_key(tmp_path, bad, message):
    path = write(tmp_path / "m.json", {"fine": entry(), "v7": bad})
    with pytest.raises(CootmartError, match=message) as error:
        load_meta(path)
    assert str(error.value).startswith(f"{path}: v7: ")


def test_every_problem_is_reported(tmp_path):
    path = write(tmp_path / "m.json", {"a": entry(text=""), "b": entry(), "c": entry(split=None, start_sec=99)})
    videos, problems = examine_meta(path)
    assert [v.key for v in videos] == ["b"] and len(problems) == 4
    assert [problem.split(": ")[1] for problem in problems] == ["a", "c", "c", "c"]
    with pytest.raises(CootmartError, match="and 3 more problems"):
        load_meta(path)


def test_duplicate_ids(tmp_path):
    path = tmp_path / "m.json"
    path.write_text(f'{{"a": {json.dumps(entry())}, "a": {json.dumps(entry())}}}', encoding="utf-8")
    with pytest.raises(CootmartError, match="key 'a' occurs twice"):
        load_meta(path)
    with pytest.raises(CootmartError, match="key 'a' occurs twice"):
        save_meta(path, [video("a", 1), video("a", 2)])


def test_save_refuses_what_load_would(tmp_path):
    with pytest.raises(CootmartError, match="lies before"):
        save_meta(tmp_path / "m.json", [replace(video("a", 1), segments=(Segment("x", 2, 1),))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{", b"\xff\xfe\x00", '{"a": "ü"}'.encode("latin-1")])
def test_bad_files(tmp_path, content):
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(CootmartError, match=r"m\.json"):
        load_meta(tmp_path / "m.json")
    assert examine_meta(tmp_path / "m.json")[1]
    assert "no such file" in examine_meta(tmp_path / "none.json")[1][0]


def test_select_names_the_splits(tmp_path):
    videos = [video("a", 1), video("b", 1, "val")]
    assert select(videos, "val", "m.json") == videos[1:]
    with pytest.raises(CootmartError, match="no video of split 'test'; found train, val"):
        select(videos, "test", "m.json")


def test_youcook2(tmp_path):
    annotations = [{"segment": [90, 102], "id": 0, "sentence": "spread  margarine "}]
    database = {"GLd3aX16zBg": {"duration": 241.62, "subset": "validation", "annotations": annotations}}
    videos = from_youcook2(write(tmp_path / "y.json", {"database": database}))
    segment = Segment("spread  margarine ", 90.0, 102.0)
    assert videos == [Video("GLd3aX16zBg", "GLd3aX16zBg", "val", 241.62, (segment,))]
    database["GLd3aX16zBg"]["recipe_type"] = "405"
    assert from_youcook2(write(tmp_path / "y.json", {"database": database})) == [replace(videos[0], group="recipe 405")]


def test_activitynet(tmp_path):
    entries = {
        "v_uqiMw7tQ1Cc": {
            "duration": 55.15,
            "timestamps": [[0.28, 55.15], [54.32, 13]],
            "sentences": ["A man.", "  The \n coach "],
        }
    }
    (found,) = from_activitynet(write(tmp_path / "val_1.json", entries))
    assert (found.key, found.data_key, found.split) == ("uqiMw7tQ1Cc_val_1", "uqiMw7tQ1Cc", "val_1")
    assert found.segments == (Segment("A man.", 0.28, 55.15), Segment(" The coach ", 13.0, 54.32))


HUGE = f'{{"duration": 1{"0" * 400}, "timestamps": [], "sentences": [], "subset": "training", "annotations": []}}'
FORMS = (
    "[]",
    '{"database": 3}',
    '{"v_a": {"duration": 1}}',
    "no json",
    f'{{"database": {{"a": {HUGE}}}, "v_a": {HUGE}}}',
)


@pytest.mark.parametrize("content", FORMS, ids=range(len(FORMS)))
def test_other_forms_are_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    for read in (from_youcook2, from_activitynet):
        with pytest.raises(CootmartError, match=r"x\.json"):
            read(tmp_path / "x.json")


HEADER = "video,split,duration_sec,start_sec,stop_sec,text\n"


def test_csv(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(HEADER + 'a,train,9,0,4,"cut, then stir"\nb,val,5,1,2,serve\na,train,9,4,9,éat\n', "utf-8-sig")
    a, b = from_csv(path)
    assert a == Video("a", "a", "train", 9.0, (Segment("cut, then stir", 0, 4), Segment("éat", 4, 9)))
    assert b.split == "val"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video,split\n", "no column 'duration_sec'"),
        (HEADER + "a,train,9,x,4,cut\n", "line 2: found"),
        (HEADER + "a,train,9\n", "line 2: found"),
        (HEADER + "a,train,9,0,4,cut\na,val,9,0,4,cut\n", "line 3: video 'a' has split 'val'"),
        (HEADER.encode() + b"a,train,9,0,4,caf\xe9\n", "UTF-8"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CootmartError, match=message):
        from_csv(path)
