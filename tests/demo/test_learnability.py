"""Can the words be learnt from the files? A linear probe on what a captioner gets: descriptors of decoded clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cootmart.demo.dataset import Item, make_dataset, story_of
from cootmart.demo.render import FPS, segments
from encoder.features.descriptor import describe
from encoder.features.video import read_frames


def clips(folder: Path, split: str, count: int) -> tuple[np.ndarray, dict[str, list[str]]]:
    """Mean and deviation over each clip, and what its event is about."""
    features, labels = [], {"kind": [], "colour": [], "shape": [], "size": [], "hidden": []}
    for number in range(count):
        item = Item(split, number)
        story = story_of(item, 0)
        frames = np.stack([frame for _, frame in read_frames(folder / "videos" / f"{item.key}.mp4", FPS)])
        values = describe(frames)
        for event, (start, stop) in zip(story.events, segments(story), strict=True):
            clip = values[round(start * FPS) : round(stop * FPS)]
            features.append(np.concatenate([clip.mean(0), clip.std(0)]))
            thing = event.was() or event.now()
            labels["kind"].append("enter" if event.kind == "return" else event.kind)
            labels["colour"].append(thing.colour)
            labels["shape"].append(thing.shape)
            labels["size"].append(thing.size)
            labels["hidden"].append(event.of_hidden)
    return np.stack(features), labels


def probe(x: np.ndarray, y: list[str], test_x: np.ndarray, test_y: list[str]) -> float:
    """Held-out accuracy of multinomial logistic regression."""
    torch.manual_seed(0)
    classes = sorted({*y, *test_y})
    mean, deviation = x.mean(0), x.std(0) + 0.1
    inputs, tests = (torch.tensor((v - mean) / deviation, dtype=torch.float32) for v in (x, test_x))
    target = torch.tensor([classes.index(label) for label in y])
    model = torch.nn.Linear(inputs.shape[1], len(classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(40):
        for part in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[part]), target[part]).backward()
            optimizer.step()
    found = model(tests).argmax(1).tolist()
    return float(np.mean([classes[i] == label for i, label in zip(found, test_y, strict=True)]))


def accuracies(folder: Path, n_train: int, n_val: int) -> dict[str, float]:
    x, y = clips(folder, "train", n_train)
    test_x, test_y = clips(folder, "val", n_val)
    result = {"kind": probe(x, y["kind"], test_x, test_y["kind"])}
    for hidden in (False, True):
        rows, test_rows = (np.flatnonzero(np.array(labels["hidden"]) == hidden) for labels in (y, test_y))
        for word in ("colour", "shape", "size"):
            one, two = [y[word][i] for i in rows], [test_y[word][i] for i in test_rows]
            result[f"{'hidden' if hidden else 'visible'} {word}"] = probe(x[rows], one, test_x[test_rows], two)
    return result


@pytest.mark.slow
def test_a_clip_tells_what_is_seen_and_not_what_is_hidden(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", 700, 120, 0, workers=1, progress=False)
    found = accuracies(tmp_path / "data", 700, 120)
    print(found)
    assert found["kind"] > 0.85
    assert found["visible colour"] > 0.9
    assert found["visible shape"] > 0.9
    assert found["visible size"] > 0.85
    assert found["hidden colour"] < 0.3  # chance 0.125
    assert found["hidden shape"] < 0.35  # chance 0.167
