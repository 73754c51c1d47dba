"""Sequences of video and text in one self-attention, packed: MART and MART without recurrence share this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captioner.batch import Batch, length_mask
from captioner.config import ModelConfig
from captioner.models.base import Captioner
from captioner.models.blocks import VocabularyHead
from captioner.models.cache import Rows
from captioner.models.embeddings import JointEmbeddings, video_ids
from captioner.models.packing import Packing


@dataclass(frozen=True)
class JointInput:
    """T sentences as the layers of a joint model see them, L = v + 2 + n."""

    packing: Packing
    n_video: int  # v + 2, the positions of [CLS] video [SEP]
    video_mask: Tensor | None  # (T, v + 2) bool, real video positions; None when all are
    key_mask: Tensor  # (T, 1, 1, L) bool, real positions
    mask: Tensor  # (1 or T, 1, L, L) bool: video sees video, text sees video and the text up to itself


@dataclass
class JointState(Rows):
    """Sentences being written: what each layer keeps of the positions so far."""

    shared = ("constants", "video_mask")

    layers: list
    visible: Tensor | None  # (R, 1, 1, room) bool, real positions; None when all are
    constants: Tensor  # (Lt, D), see `JointEmbeddings.text_constants`
    video_mask: Tensor  # (R, v + 2) bool, real video positions of all clips that `begin` saw
    length: int = 0  # text positions so far

    def key_mask(self, n_seen: int) -> Tensor | None:
        """Visible ones of the first ``n_seen`` positions."""
        return None if self.visible is None else self.visible[..., :n_seen]


class JointCaptioner(Captioner):
    """Embeddings and head around an encoder of joint sequences; subclasses bring ``encoder``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.embeddings = JointEmbeddings(config)
        self.decoder = VocabularyHead(config)
        if config.share_wd_cls_weight:
            self.decoder.decoder.weight = self.embeddings.word_embeddings.weight

    def scores(self, hidden: Tensor) -> Tensor:
        return self.decoder(hidden)

    def embed(self, batch: Batch) -> tuple[Tensor, JointInput]:
        """Packed embeddings (P, D) of a batch and the masks that go with them."""
        n_video, n_text = batch.video.shape[1] + 2, batch.text.shape[1]
        length = n_video + n_text
        packing = Packing(batch.n_sentences, length, batch.joint_rows)
        ids = torch.cat([video_ids(batch.video_lengths, n_video - 2), batch.text], dim=1)
        columns = batch.joint_rows % length
        steps = torch.where(columns < n_video, columns, columns - n_video + self.config.max_v_len)
        clip, place = batch.feature_rows // (n_video - 2), batch.feature_rows % (n_video - 2)
        places = packing.find(clip * length + place + 1)
        features = batch.video.flatten(0, 1)[batch.feature_rows]
        x = self.embeddings(ids.flatten()[batch.joint_rows], steps, features, places)
        return x, self._input(batch, packing, n_video)

    def _input(self, batch: Batch, packing: Packing, n_video: int) -> JointInput:
        columns = torch.arange(packing.length, device=batch.text.device)
        mask = (columns < n_video) | (columns <= columns[:, None])  # (L, L)
        video_mask = length_mask(batch.video_lengths + 2, n_video)
        text_mask = length_mask(batch.text_lengths, packing.length - n_video)
        key_mask = torch.cat([video_mask, text_mask], dim=1)[:, None, None]
        mask = mask[None, None]
        if not batch.full_video:  # padding of the text comes after every text that is real
            mask = mask & key_mask
        return JointInput(packing, n_video, None if batch.full_video else video_mask, key_mask, mask)

    def label_rows(self, batch: Batch, packing: Packing) -> Tensor:
        """Rows (K,) of packed matrices with a label."""
        n_text = batch.text.shape[1]
        row, place = batch.label_rows // n_text, batch.label_rows % n_text
        return packing.find(row * packing.length + packing.length - n_text + place)

    def embed_video(self, video: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """``[CLS] video [SEP]`` of R clips: (R, v + 2, D) and the real positions (R, v + 2), None when all are."""
        n_rows, n_features = video.shape[:2]
        n_video = n_features + 2
        rows = torch.arange(n_rows, device=video.device)[:, None] * n_video
        mask = length_mask(lengths, n_features)
        places = (rows + 1 + torch.arange(n_features, device=video.device))[mask]
        steps = torch.arange(n_video, device=video.device).repeat(n_rows)
        x = self.embeddings(video_ids(lengths, n_features).flatten(), steps, video[mask], places)
        full = bool(mask.all())
        return x.view(n_rows, n_video, -1), None if full else length_mask(lengths + 2, n_video)

    def begin(self, video: Tensor, lengths: Tensor, memory: Any) -> JointState:
        x, real = self.embed_video(video, lengths)
        n_text = self.config.max_t_len
        layers = self.encoder.begin(x, real, x.shape[1] + n_text, memory)
        visible = None if real is None else F.pad(real, (0, n_text), value=True)[:, None, None]
        mask = length_mask(lengths + 2, x.shape[1])
        return JointState(layers, visible, self.embeddings.text_constants(n_text), mask)

    def step(self, state: JointState, words: Tensor) -> Tensor:
        return self.scores(self.extend(state, words)[:, 0])

    def extend(self, state: JointState, words: Tensor) -> Tensor:
        """Hidden states (R, 1, D) of ``words`` (R,), appended to ``state``."""
        x = self.embeddings.text(words, state.constants[state.length])
        state.length += 1
        return self.encoder.extend(x, state)
