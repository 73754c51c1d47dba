"""The captioners of the papers, one class each behind one small interface (`captioner.models.base.Captioner`)."""

from __future__ import annotations

from captioner.config import ModelConfig
from captioner.models.base import Captioner
from captioner.models.mart import Mart
from captioner.models.norec import NonRecurrentMart
from captioner.models.transformer_xl import TransformerXL
from captioner.models.untied import UntiedTransformer
from captioner.models.vanilla import VanillaTransformer

CLASSES: dict[str, type[Captioner]] = {
    "mart": Mart,
    "norec": NonRecurrentMart,
    "vanilla": VanillaTransformer,
    "xl": TransformerXL,
    "xlgrad": TransformerXL,
    "untied": UntiedTransformer,
}


def build_model(config: ModelConfig) -> Captioner:
    """The network of a configuration, with fresh weights."""
    return CLASSES[config.model](config)
