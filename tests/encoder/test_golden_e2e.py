"""From the published data files and checkpoint to the published embeddings and scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml

from encoder.config import DataConfig, ModelConfig
from encoder.data.dataset import Loader, open_split
from encoder.embeddings import write_embeddings
from encoder.losses import coot_loss
from encoder.model import CootModel
from encoder.official import load_official
from encoder.retrieval import evaluate
from tests.encoder.golden_model import POOLERS, loss_config
from tests.golden_cases import cases

pytestmark = pytest.mark.golden
CASES = cases("coot", "e2e*/*.yaml")
PUBLISHED = {"r1": "val_base", **dict.fromkeys(("r5", "r10", "r50", "medr", "meanr"), "val_ret")}


def number(path: Path) -> int:
    """The last number in a file's name: an epoch."""
    return int(re.findall(r"\d+", path.stem)[-1])


def resolved(config: dict[str, Any]) -> dict[str, Any]:
    """A published configuration without ``same_as``, which copies what a section does not say from another one."""
    for section in (part for part in config.values() if isinstance(part, dict) and "same_as" in part):
        source = reduce(dict.__getitem__, section.pop("same_as").split("."), config)
        section |= {key: value for key, value in source.items() if key not in section}
    return config


class Run:
    """A folder with a published configuration, its data, its checkpoint and what came out."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.config: dict[str, Any] = resolved(yaml.safe_load(path.read_text(encoding="utf-8")))
        self.data = self.config["dataset_val"]
        self.checkpoint = max(self.folder.glob("model_*.pth"), key=number)
        self.model = CootModel(self._model()).eval()
        load_official(self.model, torch.load(self.checkpoint, "cpu", weights_only=True))

    def _model(self) -> ModelConfig:
        local, upper = self.config["net_video_local"], self.config["net_video_global"]
        attention, pooler = local["selfatn_config"], local["pooler_config"]
        af = {"af_hidden": pooler["hidden_dim"], "af_heads": pooler["num_heads"]} if "num_heads" in pooler else {}
        return ModelConfig(
            video_dim=self.data["vid_feat_dim"],
            text_dim=self.data["text_feat_dim"],
            hidden_size=local["output_dim"],
            heads=attention["num_heads"],
            ff_size=attention["pointwise_ff_dim"] or attention["hidden_dim"],
            layers=attention["num_layers"],
            local_pooler=POOLERS[pooler["name"]],
            global_pooler=POOLERS[upper["pooler_config"]["name"]],
            context=upper["use_context"],
            **af,
        )

    def loader(self, batch_size: int) -> Loader:
        folder = self.folder / "data" / self.data["name"]
        name = self.data["vid_feat_name"]
        in_h5 = self.data["vid_feat_source"] == "h5"
        config = DataConfig(
            meta=str(folder / f"meta_{self.data['metadata_name']}.json"),
            video_features=str(folder / f"{name}.h5" if in_h5 else folder / "features" / name),
            text_features=str(folder / f"{self.data['text_feat_name']}.h5"),
            max_frames=self.data["max_frames"],
            add_stop_frame=self.data["add_stop_frame"],
            expand_segments=self.data["expand_segments"],
        )
        return Loader(open_split(config, self.data["split"]), batch_size)

    def results(self) -> Iterator[tuple[Path, int, dict[str, float]]]:
        """Each published embeddings file of the validation split, with its batch size and its scores."""
        for path in sorted(self.folder.glob(f"embeddings_{self.data['split']}*.h5")):
            size = re.search(r"_bs(\d+)$", path.stem)
            (scores,) = self.folder.glob(f"val_ep_*{size[0] if size else ''}.json")
            metrics = {name: values[-1][1] for name, values in json.loads(scores.read_text()).items()}
            yield path, int(size[1]) if size else self.config["val"]["batch_size"], metrics


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.parent.name)
def run(request):
    return Run(request.param)


def test_there_are_cases():
    assert CASES


def test_embeddings_and_scores(run, tmp_path):
    results = list(run.results())
    assert results
    for expected, batch_size, published in results:
        written = write_embeddings(tmp_path / "e.h5", run.model, run.loader(batch_size))
        with h5py.File(tmp_path / "e.h5") as ours, h5py.File(expected) as theirs:
            assert set(ours) == set(theirs)
            assert ours["key"][()].tolist() == theirs["key"][()].tolist()
            for name in set(theirs) - {"key"}:
                assert ours[name].dtype == theirs[name].dtype
                np.testing.assert_allclose(ours[name][()], theirs[name][()], rtol=1e-5, atol=1e-5, err_msg=name)
        scores = evaluate(written)
        for name, value in scores.items():
            group = PUBLISHED[name.split("-")[1]]
            if f"{group}/{name}" in published:
                assert value == pytest.approx(published[f"{group}/{name}"], abs=1e-7), name
        assert any(f"val_base/{name}" in published for name in scores)


def test_validation_loss(run):
    config = loss_config(run.config["train"]["contrastive_loss_config"], cycle_consistency=0.0)
    for _, batch_size, published in run.results():
        with torch.inference_mode():
            losses = [float(coot_loss(run.model(batch), config)[0]) for batch in run.loader(batch_size)]
        assert np.mean(losses) == pytest.approx(published["val/loss_contr"], rel=1e-5)
