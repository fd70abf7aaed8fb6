"""The sizes of a TokenFlow network, in upstream's constructor terms.

Upstream keeps what may vary in `ModelArgs` and has the rest hard-coded. Here the former are the
terms under `args` (or at the top level), the latter those under `sizes`:
`{"args": {"codebook_size": 32768, "enhanced_decoder": true, …}, "sizes": {"dim": 768, …}}`.
Terms that are left out have upstream's values. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..harness.errors import UsageError
from ..harness.protocol import code_bits
from ..tokenizers.meditok_config import refuse_unknown
from .taming_config import NORM_GROUPS

PATCH = 16
"""Pixels per latent cell along one side, of both encoders."""

_LEVELS = 5
"""Resolutions of the pixel networks: they halve four times, to one cell per patch."""

_TEACHER = "clipb_224"

_UNUSED_UPSTREAM = frozenset({"dropout_p"})
"""Terms of upstream that change no number outside training."""


@dataclass(frozen=True, slots=True)
class TokenFlowSizes:
    """What upstream has hard-coded for its CLIP-B network, under the golden files' names."""

    dim: int = 768
    """Width of the CLIP encoder and of the semantic decoder."""
    heads: int = 12
    """Attention heads of the semantic decoder."""
    img: int = 224
    """Side of the images that the stored position tables are for."""
    out: int = 512
    """Width of the semantic output."""
    scales: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 14)
    """Cells along one side, scale after scale, without interpolated positions."""
    scales_interp: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 14, 16)
    """The same with interpolated positions."""
    ch: int = 128
    """Base width of the pixel encoder and of the plain pixel decoder."""
    nres: int = 2
    """Residual blocks per level of these two."""
    dec_ch: int = 256
    """Base width of the enhanced pixel decoder."""
    dec_nres: int = 4
    """Its residual blocks per level."""
    dec_depth: int = 3
    """Transformer blocks of the semantic decoder."""
    clip_layers: int = 12
    clip_heads: int = 12
    norm_groups: int = NORM_GROUPS
    """Groups of every group norm of the pixel networks; widths are multiples of it."""

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for one in fields(self):
            value = getattr(self, one.name)
            numbers = value if one.name in {"scales", "scales_interp"} else (value,)
            _require_counts(one.name, numbers)
        for name in ("scales", "scales_interp"):
            value = getattr(self, name)
            if max(value) != value[-1]:
                message = f"{name} must end with the largest scale, not {list(value)}"
                raise UsageError(message)
        for name in ("heads", "clip_heads"):
            if self.dim % getattr(self, name):
                message = f"dim {self.dim} is no multiple of {name} {getattr(self, name)}"
                raise UsageError(message)
        if self.img % PATCH:
            message = f"img must be a multiple of {PATCH}, not {self.img}"
            raise UsageError(message)


def _require_counts(name: str, values: Any) -> None:
    right = isinstance(values, tuple) and values
    if not right or not all(type(value) is int and value >= 1 for value in values):
        message = f"{name} must be made of integers of at least 1, not {values!r}"
        raise UsageError(message)


@dataclass(frozen=True, slots=True)
class TokenFlowConfig:
    """One network; the defaults are those of upstream's `ModelArgs`."""

    codebook_size: int = 16384
    codebook_embed_dim: int = 8
    """Dimensions of the pixel half of a code."""
    semantic_code_dim: int = 32
    """Dimensions of its semantic half."""
    z_channels: int = 256
    """Channels between the pixel networks and the latent's 1×1 convolutions."""
    encoder_ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    decoder_ch_mult: tuple[int, ...] = (1, 1, 2, 2, 4)
    enhanced_decoder: bool = False
    infer_interpolate: bool = False
    """Position tables are resized to the larger grid of `sizes.scales_interp`."""
    codebook_show_usage: bool = True
    """The checkpoint holds the record of the codes last used."""
    commit_loss_beta: float = 1.0
    entropy_loss_ratio: float = 0.0
    sizes: TokenFlowSizes = field(default_factory=TokenFlowSizes)

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be built."""
        counts = ("codebook_size", "codebook_embed_dim", "semantic_code_dim", "z_channels")
        for name in counts:
            _require_counts(name, (getattr(self, name),))
        for name in ("enhanced_decoder", "infer_interpolate", "codebook_show_usage"):
            if not isinstance(getattr(self, name), bool):
                message = f"{name} must be true or false, not {getattr(self, name)!r}"
                raise UsageError(message)
        for name in ("commit_loss_beta", "entropy_loss_ratio"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                message = f"{name} must be a number that is not negative, not {value!r}"
                raise UsageError(message)
        self._require_widths("encoder_ch_mult", self.sizes.ch)
        self._require_widths("decoder_ch_mult", self.decoder_ch)
        table = self.sizes.img // PATCH
        if not self.infer_interpolate and self.grid != table:
            message = (
                f"without infer_interpolate the last scale ({self.grid}) must be that of the "
                f"position tables ({self.sizes.img} / {PATCH} = {table})"
            )
            raise UsageError(message)

    def _require_widths(self, name: str, base: int) -> None:
        multiples, groups = getattr(self, name), self.sizes.norm_groups
        _require_counts(name, multiples)
        if len(multiples) != _LEVELS:
            message = f"{name} must have {_LEVELS} levels (to 1/{PATCH} of the side): {multiples}"
            raise UsageError(message)
        if any(base * multiple % groups for multiple in multiples):
            message = f"{name} {list(multiples)} times {base} must be multiples of {groups}"
            raise UsageError(message)

    @property
    def decoder_ch(self) -> int:
        """Base width of the pixel decoder."""
        return self.sizes.dec_ch if self.enhanced_decoder else self.sizes.ch

    @property
    def decoder_nres(self) -> int:
        """Residual blocks per level of the pixel decoder (it has one more of each)."""
        return self.sizes.dec_nres if self.enhanced_decoder else self.sizes.nres

    @property
    def scales(self) -> tuple[int, ...]:
        """Cells along one side, scale after scale."""
        return self.sizes.scales_interp if self.infer_interpolate else self.sizes.scales

    @property
    def grid(self) -> int:
        """Cells of the latent along one side."""
        return self.scales[-1]

    @property
    def side(self) -> int:
        """Side of the only images that the scales fit, pixels."""
        return self.grid * PATCH

    @property
    def positions(self) -> int:
        """Indices per image, all scales together."""
        return sum(scale**2 for scale in self.scales)

    @property
    def latent_dims(self) -> int:
        """Dimensions of a code, semantic and pixel half together."""
        return self.semantic_code_dim + self.codebook_embed_dim

    @property
    def bits_per_image(self) -> float:
        """Nominal bits of one image's codes."""
        return code_bits(1, self.positions, self.codebook_size)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> TokenFlowConfig:
        """Read upstream's terms (see the module's text).

        Raises:
            UsageError: a term is unknown (near names are suggested), has an impossible value, or
                asks for another teacher, raw codes or codes of a running k-means.
        """
        nested = "args" in terms
        if nested:
            refuse_unknown(terms, {"args", "sizes"})
        args = terms["args"] if nested else {k: v for k, v in terms.items() if k != "sizes"}
        if not isinstance(args, Mapping):
            message = f"'args' must hold upstream's terms by name, not {args!r}"
            raise UsageError(message)
        own = {one.name for one in fields(cls)} - {"sizes"}
        refuse_unknown(args, own | _UNUSED_UPSTREAM | {"teacher", "codebook_l2_norm", "kmeans"})
        for name, needed in (("teacher", _TEACHER), ("codebook_l2_norm", True), ("kmeans", False)):
            if args.get(name, needed) != needed:
                message = f"{name} must be {needed!r} (the published network), not {args[name]!r}"
                raise UsageError(message)
        values: dict[str, Any] = {name: _tuple(args[name]) for name in own if name in args}
        return cls(sizes=_sizes(terms.get("sizes", {})), **values)


def _sizes(terms: Any) -> TokenFlowSizes:
    if not isinstance(terms, Mapping):
        message = f"'sizes' must hold the sizes by name, not {terms!r}"
        raise UsageError(message)
    refuse_unknown(terms, {one.name for one in fields(TokenFlowSizes)})
    return TokenFlowSizes(**{name: _tuple(value) for name, value in terms.items()})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
