"""Sizes of PUMIT's simple tokenizer, in upstream's constructor terms.

No torch here: catalogues and listings read configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..harness.errors import UsageError
from ..harness.protocol import code_bits
from ..tokenizers.meditok_config import refuse_unknown
from .config_checks import require_count
from .taming_config import BENCHMARK_SIDE, BITS_PER_LATENT_VALUE

OFFICIAL_CONFIG: dict[str, Any] = {
    "quantize": {"num_embeddings": 1024, "embedding_dim": 512, "mode": "soft"},
    "in_channels": 3,
    "start_stride": 4,
    "downsample_layer_channels": [128, 256, 512],
    "upsample_layer_channels": [128, 256, 512],
}
"""The published network ("simple, soft")."""

NORM_GROUPS = 8
_NEEDED = frozenset(OFFICIAL_CONFIG)
_VOLUME_TERMS = frozenset({"vol_aniso_d"})
"""How much coarser the depth of a volume is; an image is one slice, whatever this says."""


@dataclass(frozen=True, slots=True)
class PUMITConfig:
    """One network: strided convolutions, a soft choice among embeddings, and back."""

    num_embeddings: int
    embedding_dim: int
    start_stride: int
    """Pixels of one cell of the first layer; each further one halves the side."""
    down_widths: tuple[int, ...]
    """Channels of the encoder's layers, from the image inwards."""
    up_widths: tuple[int, ...]
    """Channels of the decoder's layers, from the image inwards: used from the last one."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for name in ("num_embeddings", "embedding_dim", "start_stride"):
            require_count(name, getattr(self, name))
        if self.num_embeddings < 2:
            message = f"num_embeddings must be at least 2, not {self.num_embeddings}"
            raise UsageError(message)
        if self.start_stride < 2 or self.start_stride & (self.start_stride - 1):
            message = f"start_stride must be 2, 4, 8, …, not {self.start_stride}"
            raise UsageError(message)
        if self.downsample >> (len(self.up_widths) - 1) < 1:
            message = (
                f"upsample_layer_channels {list(self.up_widths)} double the side more often than "
                f"the encoder halves it ({self.downsample} pixels per cell)"
            )
            raise UsageError(message)
        if self.embedding_dim != self.up_widths[-1]:
            message = (
                f"embedding_dim ({self.embedding_dim}) must be the last of "
                f"upsample_layer_channels ({self.up_widths[-1]})"
            )
            raise UsageError(message)
        for width in (self.down_widths[-1], *self.up_widths):
            if width % NORM_GROUPS:
                message = (
                    f"the last encoder width and all decoder widths must be multiples of "
                    f"{NORM_GROUPS}, the groups of the normalisation: got {width}"
                )
                raise UsageError(message)

    @property
    def downsample(self) -> int:
        """Pixels per latent cell along one side."""
        return self.start_stride << (len(self.down_widths) - 1)

    @property
    def end_stride(self) -> int:
        """Pixels per cell of the decoder's last layer."""
        return self.downsample >> (len(self.up_widths) - 1)

    @property
    def positions(self) -> int:
        """Latent cells of a 256-pixel image."""
        return (BENCHMARK_SIDE // self.downsample) ** 2

    @property
    def soft_bits_per_image(self) -> float:
        """Nominal bits of the mixed latent of a 256-pixel image."""
        return float(self.embedding_dim * self.positions * BITS_PER_LATENT_VALUE)

    @property
    def hard_bits_per_image(self) -> float:
        """Nominal bits of the most probable codes of a 256-pixel image."""
        return code_bits(1, self.positions, self.num_embeddings)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> PUMITConfig:
        """Read the terms of `SimpleVQTokenizer` with its `VectorQuantizer` under `quantize`.

        Raises:
            UsageError: a term is missing, unknown or impossible.
        """
        _require_terms("a configuration", terms, needed=_NEEDED, known=_NEEDED | _VOLUME_TERMS)
        quantize = terms["quantize"]
        needed = frozenset({"num_embeddings", "embedding_dim"})
        _require_terms("'quantize'", quantize, needed=needed, known=needed | {"mode"})
        if quantize.get("mode", "soft") != "soft":
            message = f"mode must be 'soft', as in the published network: {quantize['mode']!r}"
            raise UsageError(message)
        if terms["in_channels"] != 3:
            message = f"in_channels must be 3, not {terms['in_channels']!r}"
            raise UsageError(message)
        return cls(
            num_embeddings=quantize["num_embeddings"],
            embedding_dim=quantize["embedding_dim"],
            start_stride=terms["start_stride"],
            down_widths=_widths("downsample_layer_channels", terms),
            up_widths=_widths("upsample_layer_channels", terms),
        )


def _require_terms(what: str, terms: Any, *, needed: frozenset[str], known: frozenset[str]) -> None:
    if not isinstance(terms, Mapping):
        message = f"{what} must be a mapping of terms, not {terms!r}"
        raise UsageError(message)
    refuse_unknown(terms, known)
    if absent := sorted(needed - set(terms)):
        message = f"{what} lacks {', '.join(absent)}"
        raise UsageError(message)


def _widths(name: str, terms: Mapping[str, Any]) -> tuple[int, ...]:
    value = terms[name]
    if not isinstance(value, list | tuple) or not value:
        message = f"{name} must be a list of widths, not {value!r}"
        raise UsageError(message)
    for width in value:
        require_count(name, width)
    return tuple(value)
