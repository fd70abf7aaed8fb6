"""The generator's sizes, in the terms of upstream's constructor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ....harness.errors import UsageError
from ....harness.training.config_terms import read_fields

_IGNORED = frozenset({"max_batch_size", "max_seq_len", "caption_dim", "initializer_range"})
"""Upstream's terms that say nothing of the network for given classes."""


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Upstream's terms (`ModelArgs`), with upstream's defaults, `layout` and `class_rotary`.

    Attributes:
        dim: width of the trunk.
        n_layer: its transformer blocks.
        n_head: attention heads.
        n_kv_head: heads of keys and values; None: as many as `n_head`.
        multiple_of: the feed-forward width is rounded up to a multiple of it.
        ffn_dim_multiplier: of that width, before rounding.
        rope_base: of the rotary embedding.
        norm_eps: of RMSNorm.
        token_dropout_p: of the embedded sequence.
        attn_dropout_p: of the attention weights.
        resid_dropout_p: of what attention gives.
        ffn_dropout_p: of what the feed-forward part gives.
        drop_path_rate: stochastic depth; only 0.
        num_classes: classes.
        class_dropout_prob: share of training images whose class is withheld; above 0, one more
            embedding stands for "no class".
        model_type: only `c2i`, class to image.
        vocab_size: codes of all codebooks together.
        cls_token_num: positions that the class takes; only 1.
        block_size: L, token positions of an image.
        num_codebooks: K; with one, the head is a linear layer.
        n_output_layer: transformer blocks of the head for several codebooks.
        layout: `raster`: positions form a square grid (upstream's only case); `sequence`: they
            lie one after the other, such as the scales of a pyramid.
        class_rotary: what the class's query and key are multiplied by: `zero` (upstream's only
            case), so that every attention score that involves the class is zero; `identity`, as
            if it stood at the first place, so that a place can look at the class and tell by it
            how far from the first one it is.
    """

    dim: int = 4096
    n_layer: int = 32
    n_head: int = 32
    n_kv_head: int | None = None
    multiple_of: int = 256
    ffn_dim_multiplier: float | None = None
    rope_base: float = 10000
    norm_eps: float = 1e-5
    token_dropout_p: float = 0.1
    attn_dropout_p: float = 0.0
    resid_dropout_p: float = 0.1
    ffn_dropout_p: float = 0.1
    drop_path_rate: float = 0.0
    num_classes: int = 1000
    class_dropout_prob: float = 0.1
    model_type: Literal["c2i"] = "c2i"
    vocab_size: int = 16384
    cls_token_num: int = 1
    block_size: int = 256
    num_codebooks: int = 1
    n_output_layer: int = 1
    layout: Literal["raster", "sequence"] = "raster"
    class_rotary: Literal["zero", "identity"] = "zero"

    def __post_init__(self) -> None:
        """Refuse sizes that fit no network.

        Raises:
            UsageError: see the message.
        """
        whole = ("dim", "n_layer", "n_head", "multiple_of", "num_classes", "block_size")
        small = [n for n in (*whole, "num_codebooks", "n_output_layer") if getattr(self, n) < 1]
        problems = [f"{name} must be at least 1" for name in small]
        if not problems:
            problems = self._misfits()
        if problems:
            raise UsageError("; ".join(problems))

    def _misfits(self) -> list[str]:
        rates = ("token_dropout_p", "attn_dropout_p", "resid_dropout_p", "ffn_dropout_p")
        found = [
            f"{name} must lie in [0, 1)"
            for name in (*rates, "class_dropout_prob")
            if not 0 <= getattr(self, name) < 1
        ]
        if self.dim % (4 * self.n_head):
            found.append(f"dim {self.dim} must be a multiple of 4 n_head = {4 * self.n_head}")
        if self.n_head % self.kv_heads:
            found.append(f"n_head {self.n_head} must be a multiple of n_kv_head {self.kv_heads}")
        if self.vocab_size < self.num_codebooks or self.vocab_size % self.num_codebooks:
            found.append(f"vocab_size {self.vocab_size} must be a multiple of num_codebooks")
        if self.layout == "raster" and math.isqrt(self.block_size) ** 2 != self.block_size:
            found.append(f"block_size {self.block_size} is no square, so `layout` must be sequence")
        if self.cls_token_num != 1:
            found.append("cls_token_num must be 1")
        if self.drop_path_rate:
            found.append("drop_path_rate must be 0: stochastic depth is not part of it")
        return found

    @property
    def embedded_classes(self) -> int:
        """Rows of the class table."""
        return self.num_classes + (self.class_dropout_prob > 0)

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.dim // self.n_head

    @property
    def codebook_size(self) -> int:
        """V, codes of one codebook."""
        return self.vocab_size // self.num_codebooks

    @property
    def hidden_dim(self) -> int:
        """Width of the feed-forward part: two thirds of four times `dim`, rounded up."""
        hidden = int(2 * 4 * self.dim / 3)
        if self.ffn_dim_multiplier is not None:
            hidden = int(self.ffn_dim_multiplier * hidden)
        return -(-hidden // self.multiple_of) * self.multiple_of


def read_config(terms: Mapping[str, Any]) -> GeneratorConfig:
    """The configuration from upstream's terms; those that only size buffers are passed over.

    Raises:
        UsageError: an unknown term, or a value that fits no network.
    """
    kept = {name: value for name, value in terms.items() if name not in _IGNORED}
    return read_fields(GeneratorConfig, kept, "the generator's configuration")
