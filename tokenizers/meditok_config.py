"""The sizes of a MedITok or UniTok network, in upstream's constructor terms.

Upstream keeps them in one flat argument set (`model`, `vocab_size`, …) and takes the backbone's
sizes from the registered `model` name. Sizes that have no registered name are given under
`variant`, as in `{"vocab_size": 32768, …, "variant": {"stage_dims": [16, 24, 64], …}}`.
No torch here: catalogues and listings read configurations.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..harness.errors import UsageError
from ..harness.protocol import code_bits

DOWNSAMPLE = 16
"""Pixels per token along one side: stem, two stages and the patch convolution halve once each."""

_UNUSED_UPSTREAM = frozenset(
    {
        "device",
        "grad_ckpt",
        "text_width",
        "text_heads",
        "text_layers",
        "text_vocab_size",
        "text_context_length",
    }
)
"""Terms of upstream that change no number that the image tokenizer gives."""


_TUPLES = {"stage_dims": 3, "stage_depths": 2, "decoder_dims": 3, "decoder_depths": 2}


@dataclass(frozen=True, slots=True)
class ViTaminSizes:
    """Widths and depths of the convolution stages, the transformer and the decoder."""

    stem_width: int
    stage_dims: tuple[int, int, int]
    """Widths of stage 1, stage 2 and the tokens; the last one equals `embed_dim`."""
    stage_depths: tuple[int, int]
    embed_dim: int
    depth: int
    """Transformer blocks, in the encoder and again in the decoder."""
    num_heads: int
    mlp_ratio: float
    decoder_dims: tuple[int, int, int]
    """Token width, then the widths at 1/8 and 1/4 of the side; the first equals `embed_dim`."""
    decoder_depths: tuple[int, int] = (4, 2)

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for name, count in _TUPLES.items():
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != count or not all(map(_counts, value)):
                message = f"{name} must be {count} integers of at least 1, not {value}"
                raise UsageError(message)
        _require_counts(self, ("stem_width", "embed_dim", "depth", "num_heads"))
        _require_numbers(self, ("mlp_ratio",))
        if self.mlp_ratio == 0:
            message = "mlp_ratio must be positive, not 0"
            raise UsageError(message)
        if not self.embed_dim == self.stage_dims[2] == self.decoder_dims[0]:
            message = (
                f"embed_dim ({self.embed_dim}), the last of stage_dims ({self.stage_dims[2]}) and "
                f"the first of decoder_dims ({self.decoder_dims[0]}) must be the same number"
            )
            raise UsageError(message)
        if self.embed_dim % self.num_heads:
            message = f"embed_dim {self.embed_dim} is no multiple of num_heads {self.num_heads}"
            raise UsageError(message)


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _require_counts(config: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if not _counts(getattr(config, name)):
            message = f"{name} must be an integer of at least 1, not {getattr(config, name)!r}"
            raise UsageError(message)


def _require_numbers(config: Any, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            message = f"{name} must be a number that is not negative, not {value!r}"
            raise UsageError(message)


VITAMIN_BASE = ViTaminSizes(
    stem_width=128,
    stage_dims=(128, 256, 768),
    stage_depths=(2, 4),
    embed_dim=768,
    depth=14,
    num_heads=12,
    mlp_ratio=2.0,
    decoder_dims=(768, 256, 128),
)
VITAMIN_LARGE = ViTaminSizes(
    stem_width=160,
    stage_dims=(160, 320, 1024),
    stage_depths=(2, 4),
    embed_dim=1024,
    depth=31,
    num_heads=16,
    mlp_ratio=2.0,
    decoder_dims=(1024, 320, 160),
)
_NAMED_SIZES = {
    "vitamin_base": VITAMIN_BASE,
    "vitamin_base_256": VITAMIN_BASE,
    "vitamin_large": VITAMIN_LARGE,
    "vitamin_large_256": VITAMIN_LARGE,
}


@dataclass(frozen=True, slots=True)
class MedITokConfig:
    """One network: backbone sizes, codebooks, head and loss weights (published values default)."""

    sizes: ViTaminSizes = VITAMIN_LARGE
    img_size: int = 256
    """Side at which the network is benchmarked; any multiple of 16 can be run."""
    embed_dim: int = 768
    """Width of the contrastive head's output."""
    vocab_size: int = 32768
    """Codes of all codebooks together."""
    vocab_width: int = 64
    """Width of the latent, all codebooks together."""
    num_codebooks: int = 8
    quant_proj: str = "attn"
    """`attn` (as published) or `linear`: what leads into and out of the latent."""
    vq_beta: float = 0.25
    le: float = 0.0
    """Weight of the entropy loss; 0 leaves it out."""
    e_temp: float = 0.01
    drop_path: float = 0.0
    drop_alignment: bool = False
    """True: no contrastive head."""

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be built."""
        counts = ("img_size", "embed_dim", "vocab_size", "vocab_width", "num_codebooks")
        _require_counts(self, counts)
        _require_numbers(self, ("vq_beta", "le", "e_temp", "drop_path"))
        for whole, part in (
            ("vocab_size", self.num_codebooks),
            ("vocab_width", self.num_codebooks),
            ("img_size", DOWNSAMPLE),
        ):
            value = getattr(self, whole)
            if value % part:
                message = f"{whole} must be a multiple of {part}, not {value}"
                raise UsageError(message)
        if self.e_temp == 0 or self.drop_path >= 1:
            message = (
                f"e_temp must be above 0 and drop_path below 1: {self.e_temp}, {self.drop_path}"
            )
            raise UsageError(message)
        if not isinstance(self.drop_alignment, bool):
            message = f"drop_alignment must be true or false, not {self.drop_alignment!r}"
            raise UsageError(message)
        if self.quant_proj not in {"attn", "linear"}:
            message = f"quant_proj must be 'attn' or 'linear', not {self.quant_proj!r}"
            raise UsageError(message)
        if self.quant_proj == "attn" and self.sizes.embed_dim % self.vocab_width:
            message = (
                f"the attention projection needs a token width ({self.sizes.embed_dim}) that is a "
                f"multiple of vocab_width ({self.vocab_width}); change one, or quant_proj to linear"
            )
            raise UsageError(message)

    @property
    def codebook_size(self) -> int:
        """Codes per codebook."""
        return self.vocab_size // self.num_codebooks

    @property
    def code_width(self) -> int:
        """Dimensions of one code."""
        return self.vocab_width // self.num_codebooks

    @property
    def positions(self) -> int:
        """Token positions of an image of side `img_size`."""
        return (self.img_size // DOWNSAMPLE) ** 2

    @property
    def bits_per_image(self) -> float:
        """Nominal bits of the codes of an image of side `img_size`."""
        return code_bits(self.num_codebooks, self.positions, self.codebook_size)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> MedITokConfig:
        """Read upstream's terms (see the module's text).

        Raises:
            UsageError: a term is unknown (near names are suggested), has an impossible value, or
                asks for what no published checkpoint uses (query tokens, raw codebooks).
        """
        own = {field.name for field in fields(cls)} - {"sizes"}
        refuse_unknown(
            terms, own | _UNUSED_UPSTREAM | {"model", "variant", "num_query", "vocab_norm"}
        )
        if terms.get("num_query", 0) != 0:
            message = f"num_query must be 0 (no published network has more): {terms['num_query']}"
            raise UsageError(message)
        if terms.get("vocab_norm", True) is not True:
            message = "vocab_norm must be true: codes are compared on the unit sphere"
            raise UsageError(message)
        values = {name: terms[name] for name in own if name in terms}
        return cls(
            sizes=_sizes(terms.get("model", "vitamin_large"), terms.get("variant")), **values
        )


def _sizes(model: str, variant: Mapping[str, Any] | None) -> ViTaminSizes:
    if variant is None:
        if model not in _NAMED_SIZES:
            message = (
                f"no sizes are known for the backbone {model!r}: name one of "
                f"{', '.join(_NAMED_SIZES)}, or give the sizes under 'variant'"
            )
            raise UsageError(message)
        return _NAMED_SIZES[model]
    if not isinstance(variant, Mapping):
        message = f"'variant' must hold the sizes by name, not {variant!r}"
        raise UsageError(message)
    refuse_unknown(variant, {field.name for field in fields(ViTaminSizes)})
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in variant.items()
    }
    try:
        return ViTaminSizes(**values)
    except TypeError as error:
        message = f"the sizes under 'variant' are incomplete: {error}"
        raise UsageError(message) from error


def refuse_unknown(terms: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
    """Raise a `UsageError` that names each unknown term and the known ones close to it."""
    unknown = sorted(set(terms) - known)
    if not unknown:
        return
    hints = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
        hints.append(f"{name!r}" + (f" (did you mean {' or '.join(near)}?)" if near else ""))
    message = f"unknown configuration terms: {', '.join(hints)}; known: {', '.join(sorted(known))}"
    raise UsageError(message)
