"""The benchmark of the evaluation: its work is the same on both sides, and its last line says every ratio."""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_evaluation", ROOT / "scripts" / "bench_evaluation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def args(bench) -> argparse.Namespace:
    case = bench.default_case()
    return argparse.Namespace(case=case, annotations=None, limit=8, cores=1, repeats=2, quick=True)


def test_both_sides_give_the_same_numbers(bench, args):
    references, predictions = bench.read_case(args)
    assert len(references) == 2 and len(predictions) == 8
    sides = [side(references, bench.WITHOUT_METEOR) for side in (bench.stock, bench.ours)]
    for k in range(2):
        a, b = (side(bench.variant(predictions, k)) for side in sides)
        assert a == pytest.approx(b, abs=1e-12)


def test_full_annotations_need_no_submission(bench, tmp_path):
    (tmp_path / "activitynet").mkdir()
    for i in (1, 2):
        path = tmp_path / "activitynet" / f"captioning_test_{i}_para.json"
        path.write_text(json.dumps({"v_a": "One two three four. Five six seven.", "v_b": "Eight."}), encoding="utf-8")
    references, predictions = bench.read_case(argparse.Namespace(annotations=tmp_path, case=None, limit=9))
    assert len(references) == 2
    assert predictions == {"v_a": ["One two four", "Five six"], "v_b": ["Eight"]}


def test_last_line_is_json_with_every_ratio(bench, args, capsys):
    names = [*bench.AGAINST, *bench.AGAINST.values()]
    bench.report({name: [float(i + 1)] * 5 for i, name in enumerate(dict.fromkeys(names))}, 0.0, args)
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["ratios"].keys() == bench.AGAINST.keys()
    assert all(f"x{ratio:.2f} against" in "\n".join(lines) for ratio in found["ratios"].values())
    assert found["cores"] == 1 and found["omp_num_threads"] == 1 and "threads" in lines[1]
