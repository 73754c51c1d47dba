"""Drawing words: temperature and nucleus sampling."""

from __future__ import annotations

import torch
from torch import Tensor


class Sampler:
    """Draws from the softmax at a temperature, cut to the nucleus of probability ``top_p``."""

    def __init__(self, temperature: float, top_p: float, seed: int, device: torch.device) -> None:
        self.temperature, self.top_p = temperature, top_p
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, scores: Tensor) -> Tensor:
        """(R, V) -> (R,)."""
        probabilities = nucleus((scores.float() / self.temperature).softmax(dim=1), self.top_p)
        return torch.multinomial(probabilities, 1, generator=self.generator).squeeze(1)


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The fewest most probable words of each row that together reach ``top_p``, zero elsewhere; (R, V)."""
    if top_p >= 1:
        return probabilities
    ranked, order = probabilities.sort(dim=1, descending=True)
    beyond = ranked.cumsum(dim=1) - ranked >= top_p
    return torch.zeros_like(probabilities).scatter(1, order, ranked.masked_fill(beyond, 0.0))
