"""What an encoder run is: the model, its losses, its data and its training, each a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from training.config import at_least, require
from training.loop import LoopConfig
from training.optim import OptimizerConfig
from training.schedule import PlateauConfig


@dataclass(frozen=True)
class ModelConfig:
    """The COOT model (Ging et al. 2020, Figure 2). Defaults are those of all three published configurations."""

    network: str = "coot"
    """coot, or hse: the hierarchical GRU of Zhang et al. 2018, of which only the widths and the dropout matter"""
    video_dim: int = 512
    """width of a frame feature"""
    text_dim: int = 1536
    """width of a word feature"""
    hidden_size: int = 384
    """width D of clip and sentence embeddings"""
    heads: int = 8
    """attention heads"""
    ff_size: int = 384
    """width of the feed-forward layers"""
    layers: int = 1
    """self-attention layers in each of the four networks"""
    dropout: float = 0.05
    """dropout in attention, feed-forward and pooling"""
    local_pooler: str = "af"
    """frames to clip, words to sentence: af | max | mean | padded_mean | cls"""
    global_pooler: str = "padded_mean"
    """clips to video, sentences to paragraph: the same, and padded_mean_all | fixed_mean | fixed_mean_all, which count
    padding: `padded` up to the longest video of the batch, `fixed` up to `pad_clips_to`; divided by the clips of the
    video, or with `_all` by all positions"""
    pad_clips_to: int = 16
    """positions of a video for the `fixed` averages, at least the clips of any video"""
    af_hidden: int = 768
    """hidden width of the attention-aware aggregation, all heads together"""
    af_heads: int = 2
    """heads of the attention-aware aggregation"""
    af_layers: int = 1
    """layers of the attention-aware aggregation; more than one is AF x2 and so on"""
    context: bool = True
    """contextual transformer: the whole video (paragraph) attends to its clips (sentences)"""
    init_std: float = 0.01
    """standard deviation of the truncated normal initialisation"""
    kept_tokens: int = 4096
    """frames (words) of a batch of which training on a CPU keeps what the gradient needs; for the others that is
    computed once more: a third less memory, a fifth more time. The results do not change"""

    def __post_init__(self) -> None:
        at_least(self, "model", 1, "video_dim", "text_dim", "hidden_size", "heads", "ff_size", "layers", "pad_clips_to")
        at_least(self, "model", 1, "af_hidden", "af_heads", "af_layers")
        at_least(self, "model", 0, "kept_tokens")
        for whole, part in (("hidden_size", "heads"), ("hidden_size", "af_heads"), ("af_hidden", "af_heads")):
            divides = getattr(self, whole) % getattr(self, part) == 0
            require(self, "model", part, divides, f"a divisor of model.{whole}, {getattr(self, whole)}")
        require(self, "model", "dropout", 0 <= self.dropout < 1, "0 or more, below 1")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms (equations 5-9 of the COOT paper)."""

    margin: float = 0.2
    """margin of the contrastive loss"""
    high: float = 1.0
    """video and paragraph aligned"""
    low: float = 1.0
    """clip and sentence aligned"""
    context: float = 1.0
    """global video context and paragraph context aligned"""
    high_cluster: float = 1.0
    """videos spread among themselves, paragraphs likewise"""
    low_cluster: float = 1.0
    """clips spread among themselves, sentences likewise"""
    context_cluster: float = 0.0
    """contexts spread among themselves"""
    cycle_consistency: float = 0.001
    """weight lambda of the cross-modal cycle consistency"""

    def __post_init__(self) -> None:
        weights = [f.name for f in fields(self) if f.name != "margin"]
        at_least(self, "loss", 0, *weights)
        require(self, "loss", weights[0], any(getattr(self, name) for name in weights), "some weight above 0")


@dataclass(frozen=True)
class DataConfig:
    """Where the data lies and how frames are taken from it (paths are relative to the working directory)."""

    meta: str = "data/youcook2/meta_all.json"
    """videos, splits, segments and sentences"""
    video_features: str = "data/youcook2/video_feat_100m.h5"
    """frame features, one HDF5 data set a video"""
    text_features: str = "data/youcook2/text_feat.h5"
    """word features with their `_sentence_splits.json` beside them"""
    train_split: str = "train"
    """split to train on"""
    val_split: str = "val"
    """split to validate on"""
    max_frames: int = 80
    """frames sampled from a video, and from a clip"""
    add_stop_frame: int = 2
    """frames added behind the last frame of a segment"""
    expand_segments: int = 0
    """shortest segment in frames; shorter ones grow on both sides"""
    frames_noise: float = 0.0
    """standard deviation of noise added to frame features in training"""
    border_noise: float = 0.0
    """each border of a segment moves at random in training, at most by this fraction of the segment's length"""
    uniform_segments: bool = False
    """ignore the annotated segments: split each video evenly into as many parts as it has sentences"""

    def __post_init__(self) -> None:
        at_least(self, "data", 1, "max_frames")
        at_least(self, "data", 0, "add_stop_frame", "expand_segments", "frames_noise", "border_noise")


@dataclass(frozen=True)
class FeatureConfig:
    """How the features were computed, so that those of a new video and of a new sentence can be the same."""

    backbone: str = "unknown"
    """name in `encoder.features.backbones`, or `unknown` where only feature files exist"""
    fps: float = 1.0
    """frame features a second"""
    words: str = "unknown"
    """name in `encoder.features.words`, or `unknown` where only feature files exist"""


@dataclass(frozen=True)
class EncoderConfig:
    """One encoder run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: PlateauConfig = field(default_factory=PlateauConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch_size: int = 64
    """videos in a batch"""
    score: str = "clip_sentence"
    """what the best epoch maximises: mean R@1 of `clip_sentence` or of `video_paragraph`"""

    def __post_init__(self) -> None:
        at_least(self, "encoder", 1, "batch_size")
        known = self.score in ("clip_sentence", "video_paragraph")
        require(self, "encoder", "score", known, "clip_sentence or video_paragraph")
