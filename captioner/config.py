"""What a captioner run is: the network, how it writes, its data and its training, each a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.config import at_least, require
from training.loop import LoopConfig
from training.optim import OptimizerConfig

MODELS = ("mart", "norec", "vanilla", "xl", "xlgrad", "untied")
JOINT_MODELS = ("mart", "norec", "xl", "xlgrad")  # one sequence: [CLS] video [SEP] [BOS] words
MEMORY_MASKS = ("query", "key")
STRATEGIES = ("greedy", "beam", "sample")
LENGTH_PENALTIES = ("none", "wu", "avg")
BASELINES = ("others", "greedy")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a captioner. The defaults are MART for YouCook2 on COOT ``vidclip`` embeddings.

    Raises:
        CootmartError: a value does not exist or does not go with the others.
    """

    model: str = "mart"
    """mart | norec: MART without recurrence | vanilla: masked transformer | xl, xlgrad: Transformer-XL without and with
    gradient through its memory | untied: separate video encoder and text decoder"""
    vocab_size: int = 992
    """words and special tokens; training takes it from the vocabulary"""
    video_feature_size: int = 1152
    """width of a clip's feature: COOT clip 384, vidclip 1152, RGB+flow 3072; training takes it from the data"""
    word_vec_size: int = 300
    """width of a word vector"""
    hidden_size: int = 768
    """width D of the network"""
    intermediate_size: int = 768
    """width of the feed-forward layers; mart needs hidden_size here, xl and xlgrad do not use it"""
    n_heads: int = 12
    """attention heads"""
    n_layers: int = 2
    """layers"""
    n_memory_cells: int = 1
    """mart: memory vectors a layer"""
    max_v_len: int = 3
    """video positions; mart, norec, xl and xlgrad spend two of them on [CLS] and [SEP]"""
    max_t_len: int = 22
    """text positions, [BOS] and [EOS] included"""
    hidden_dropout: float = 0.1
    """dropout of hidden states"""
    attention_dropout: float = 0.1
    """dropout of attention weights"""
    memory_dropout: float = 0.1
    """mart: dropout of the first memory"""
    layer_norm_eps: float = 1e-12
    """added to variances"""
    initializer_range: float = 0.02
    """standard deviation of initial weights"""
    label_smoothing: float = 0.1
    """share of probability spread over wrong words; 0 is cross-entropy, averaged over the words of a sentence step"""
    share_wd_cls_weight: bool = False
    """the classifier uses the word vectors; needs word_vec_size = hidden_size"""
    xl_memory_mask: str = "query"
    """xl, xlgrad: query as published (padding of the sentence before is seen), key hides padding"""

    def __post_init__(self) -> None:
        self._check("model", self.model in MODELS, "one of " + ", ".join(MODELS))
        self._check("xl_memory_mask", self.xl_memory_mask in MEMORY_MASKS, "query or key")
        self._check("hidden_size", self.hidden_size % self.n_heads == 0, f"a multiple of n_heads ({self.n_heads})")
        self._check("hidden_size", self.hidden_size % 2 == 0, "an even number (sine and cosine positions)")
        self._check("max_t_len", self.max_t_len >= 3, "at least 3: [BOS], a word, [EOS]")
        self._check("max_v_len", self.max_features >= 1, f"at least {self.video_margin + 1}")
        self._check("label_smoothing", 0 <= self.label_smoothing <= 1, "0 to 1")
        if self.model == "mart":
            same = self.intermediate_size == self.hidden_size
            self._check("intermediate_size", same, f"hidden_size ({self.hidden_size}) for mart")
        if self.share_wd_cls_weight:
            same = self.word_vec_size == self.hidden_size
            self._check("word_vec_size", same, f"hidden_size ({self.hidden_size}) with share_wd_cls_weight")

    @property
    def is_joint(self) -> bool:
        """Video and text share one sequence, so that text attends to video by self-attention."""
        return self.model in JOINT_MODELS

    @property
    def video_margin(self) -> int:
        """Video positions that hold no feature: [CLS] and [SEP] of the joint sequence."""
        return 2 if self.is_joint else 0

    @property
    def max_features(self) -> int:
        """Feature vectors of one clip that fit."""
        return self.max_v_len - self.video_margin

    def _check(self, name: str, holds: bool, expected: str) -> None:
        require(self, "model", name, holds, expected)


@dataclass(frozen=True)
class DecodingOptions:
    """How sentences are written: the strategy, and what it may not write.

    Raises:
        CootmartError: a value does not exist or does not go with the others.
    """

    strategy: str = "greedy"
    """greedy | beam | sample"""
    min_length: int = 0
    """words before a sentence may end"""
    max_length: int = 0
    """most words; 0 is what the model has positions for"""
    allow_unknown: bool = False
    """may write [UNK]"""
    no_repeat_ngram: int = 0
    """no n-gram of this size twice in a sentence; 0 allows all"""
    no_repeat_ngram_in_paragraph: int = 0
    """no n-gram of this size twice in a paragraph; 4 lowers R@4 to almost nothing"""
    beam_size: int = 2
    """beam: hypotheses kept"""
    n_best: int = 1
    """beam: finished hypotheses of a sentence before the search may stop; sample: draws of a sentence; the first one
    goes into the paragraph, the others are its alternatives"""
    length_penalty: str = "none"
    """beam: none | wu | avg"""
    length_penalty_alpha: float = 0.0
    """beam: exponent of the penalty `wu`"""
    kill_repeating_paths: bool = False
    """beam: as published, drop a hypothesis one word after it has repeated itself instead of keeping it from it"""
    temperature: float = 1.0
    """sample: below 1 sharper, above 1 flatter"""
    top_p: float = 1.0
    """sample: from the most probable words that together have this probability"""
    seed: int = 0
    """sample: seed of the draws"""

    def __post_init__(self) -> None:
        self._check("strategy", self.strategy in STRATEGIES, "one of " + ", ".join(STRATEGIES))
        known = ", ".join(LENGTH_PENALTIES)
        self._check("length_penalty", self.length_penalty in LENGTH_PENALTIES, f"one of {known}")
        for name in ("min_length", "max_length", "no_repeat_ngram", "no_repeat_ngram_in_paragraph"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        self._check("beam_size", self.beam_size >= 1, "1 or more")
        self._check("n_best", self.n_best >= 1, "1 or more")
        if self.strategy == "beam":
            self._check("n_best", self.n_best <= self.beam_size, f"at most beam_size ({self.beam_size})")
        if self.strategy == "greedy":
            self._check("n_best", self.n_best == 1, "1 with strategy greedy")
        self._check("temperature", self.temperature > 0, "more than 0")
        self._check("top_p", 0 < self.top_p <= 1, "more than 0, at most 1")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        require(self, "decoding", name, holds, expected)


@dataclass(frozen=True)
class DataConfig:
    """Where the data lies (paths are relative to the working directory)."""

    train_embeddings: str = "data/embeddings_train.h5"
    """embeddings file of the training videos"""
    val_embeddings: str = "data/embeddings_val.h5"
    """embeddings file of the validation videos"""
    features: str = "vidclip"
    """what is seen of a clip: clip | vid | vidclip | vidclipctx from embeddings; with `_window` behind it
    (vidclip_window) three vectors, of the clip, the one before and the one after; or video: appearance and flow"""
    video_features: str = ""
    """video: folder of `<name>_resnet.npy` and `<name>_bn.npy`"""
    durations: str = ""
    """video: file of name,duration,frames rows"""
    feature_times: str = "youcook2"
    """video: whose formula gives the seconds between features, youcook2 | activitynet"""
    meta: str = "data/meta_all.json"
    """videos, splits, segments and sentences; or one annotation file each in the two options below"""
    train_annotations: str = ""
    """instead of meta: `{video: {timestamps, sentences}}` of the training videos"""
    val_annotations: str = ""
    """instead of meta: the same of the validation videos"""
    train_split: str = "train"
    """split of meta to train on"""
    val_split: str = "val"
    """split of meta to validate on"""
    val_references: tuple[str, ...] = ()
    """files of reference paragraphs `{video: text}`; by default the validation sentences"""
    vocabulary: str = ""
    """`{token: id}` file; by default built from the training sentences"""
    min_count: int = 3
    """words of a built vocabulary occur more often than this"""
    glove: str = ""
    """text file of word vectors to start from; by default random ones"""
    max_n_sen: int = 12
    """sentences of a training video that are used"""
    max_n_sen_val: int = 22
    """sentences of a validation video that are written"""
    encoder: str = ""
    """model folder of the encoder, copied into the captioner's so that it can caption video files"""
    segment_seconds: float = 10.0
    """mean length of a segment; training takes it and the next two from the annotations"""
    segment_deviation: float = 5.0
    """standard deviation of that length, seconds"""
    segment_pause: float = 0.0
    """mean time between segments, seconds"""


@dataclass(frozen=True)
class ScstConfig:
    """Self-critical training on CIDEr-D, a second training of a captioner; see `captioner.scst`.

    Raises:
        CootmartError: a value does not exist or does not go with the others.
    """

    start: str = ""
    """model folder of the captioner to go on from; empty: training by cross-entropy, and the rest is not used"""
    samples: int = 4
    """paragraphs drawn for every video of a batch"""
    baseline: str = "others"
    """a paragraph's reward counts as far as it exceeds that of: others, the other draws | greedy decoding"""
    repetition_penalty: float = 0.0
    """how much a paragraph that does nothing but repeat itself (R@4 of 1) loses of its CIDEr-D (0 to 10)"""

    def __post_init__(self) -> None:
        require(self, "scst", "baseline", self.baseline in BASELINES, "one of " + ", ".join(BASELINES))
        least = 2 if self.baseline == "others" else 1
        require(self, "scst", "samples", self.samples >= least, f"{least} or more with baseline {self.baseline}")
        at_least(self, "scst", 0, "repetition_penalty")


@dataclass(frozen=True)
class CaptionerConfig:
    """One captioner run. The defaults are MART on YouCook2 as published with COOT."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    decoding: DecodingOptions = field(default_factory=DecodingOptions)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("bertadam", 1e-4, 0.9, 0.999, 1e-6, 0.01)
    )
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(epochs=50, patience=10, clip_gradient=1.0, ema_decay=0.9999)
    )
    scst: ScstConfig = field(default_factory=ScstConfig)
    warmup: float = 0.1
    """share of all steps in which the rate rises; then it falls linearly to 0"""
    batch_size: int = 16
    """videos in a batch"""
    batch_of: str = "videos"
    """videos; or sentences, as models without recurrence were trained"""
    val_batch_size: int = 50
    """videos written at the same time"""

    def __post_init__(self) -> None:
        known = self.batch_of in ("videos", "sentences")
        require(self, "captioner", "batch_of", known, "videos or sentences")
        n = 3 if self.data.features.endswith("_window") else 1
        known = f"{self.model.video_margin + n} or more for data.features={self.data.features}"
        require(self.model, "model", "max_v_len", self.model.max_features >= n, known)
        alone = self.batch_of == "videos" or self.model.model not in ("mart", "xl", "xlgrad")
        require(self, "captioner", "batch_of", alone, f"videos: {self.model.model} learns from whole paragraphs")
