"""What a captioner is made of: the sizes and the variant, with the values of the papers as defaults."""

from __future__ import annotations

from dataclasses import dataclass

from training.errors import CootmartError

MODELS = ("mart", "norec", "vanilla", "xl", "xlgrad", "untied")
JOINT_MODELS = (
    "mart",
    "norec",
    "xl",
    "xlgrad",
)  # video and text in one sequence: [CLS] video [SEP] [BOS] words
MEMORY_MASKS = ("query", "key")


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a captioner. The defaults are MART for YouCook2 on COOT ``vidclip`` embeddings.

    ``model``: ``mart`` (recurrent memory), ``norec`` (MART without recurrence), ``vanilla`` (masked transformer),
    ``xl`` and ``xlgrad`` (Transformer-XL without and with gradient through its memory), ``untied`` (separate video
    encoder and text decoder).

    Raises:
        CootmartError: a value does not exist or does not go with the others.
    """

    model: str = "mart"
    vocab_size: int = 992
    video_feature_size: int = 1152  # 1152 for COOT vidclip, 384 for clip, 3072 for RGB+flow
    word_vec_size: int = 300
    hidden_size: int = 768
    intermediate_size: int = 768  # mart needs hidden_size here, xl and xlgrad do not use it
    n_heads: int = 12
    n_layers: int = 2
    n_memory_cells: int = 1  # mart only
    max_v_len: int = 3  # video positions; joint models spend two of them on [CLS] and [SEP]
    max_t_len: int = 22  # text positions, [BOS] and [EOS] included
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    memory_dropout: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    label_smoothing: float = 0.1  # 0 is plain cross-entropy, averaged over the words of a sentence step
    share_wd_cls_weight: bool = False  # the classifier uses the word embedding; needs word_vec_size == hidden_size
    xl_memory_mask: str = "query"  # xl: "query" as published (padded memory is seen), "key" hides padded memory

    def __post_init__(self) -> None:
        self._one_of("model", MODELS)
        self._one_of("xl_memory_mask", MEMORY_MASKS)
        self._check(self.hidden_size % self.n_heads == 0, "hidden_size", "a multiple of n_heads")
        self._check(self.hidden_size % 2 == 0, "hidden_size", "an even number (sine and cosine positions)")
        self._check(self.max_t_len >= 3, "max_t_len", "at least 3: [BOS], a word, [EOS]")
        self._check(self.max_v_len >= self.video_margin + 1, "max_v_len", f"at least {self.video_margin + 1}")
        if self.model == "mart":
            same = self.intermediate_size == self.hidden_size
            self._check(same, "intermediate_size", f"hidden_size ({self.hidden_size}) for mart")
        if self.share_wd_cls_weight:
            same = self.word_vec_size == self.hidden_size
            self._check(same, "word_vec_size", f"hidden_size ({self.hidden_size}) with share_wd_cls_weight")

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

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        self._check(getattr(self, name) in known, name, "one of " + ", ".join(known))

    def _check(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise CootmartError(f"model configuration: {name} is {getattr(self, name)!r}, expected {expected}")
