"""What the harness asks of a visual tokenizer.

Shapes: B images, H = W pixels, K codebooks, L token positions, D dimensions, (h, w) the
latent grid. Nothing here imports torch, so that listing and reporting stay light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["discrete", "continuous", "codec", "bound"]
Layout = Literal["raster", "scales", "none"]
Colour = Literal["rgb", "luma"]
Ability = Literal["encode", "decode", "features", "continuous"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """What `Tokenizer.encode` returns for a batch.

    Attributes:
        indices: int64 (B, K, L), each in [0, codebook_size); None where the system has no codes.
        latents: float32 (B, D, h, w): the quantised latent of a discrete tokenizer, the
            posterior mean of a continuous one; None where a system keeps its own payload.
        payload: what a system without tensors (a codec) needs to decode, one item per image.
        bits: measured bits of each image, for codecs; None where `bits_per_image` holds.
        continuous: what `ContinuousTokenizer.continuous` gives for the same images, (B, L, E),
            where encoding has it at hand: whoever needs both then asks once. None: ask.
    """

    indices: Tensor | None = None
    latents: Tensor | None = None
    payload: tuple[bytes, ...] | None = None
    bits: tuple[int, ...] | None = None
    continuous: Tensor | None = None


@dataclass(frozen=True, slots=True)
class TokenizerInfo:
    """Facts that every record repeats, so that a reader can judge a row without the code."""

    name: str
    variant: str
    kind: Kind
    resolution: int = 256
    """Side of the square image at which the benchmark runs it, pixels."""
    size_multiple: int = 1
    """Accepted sides are the multiples of this number."""
    downsample: int = 1
    """Pixels per latent cell along one side."""
    layout: Layout = "none"
    """How the L positions lie: a raster grid, scales one after the other, or no tokens."""
    codebooks: int = 0
    codebook_size: int = 0
    positions: int = 0
    """L at `resolution`."""
    latent_dims: int = 0
    feature_dims: int = 0
    """D of `features`; 0 where the system has none."""
    parameters: int = 0
    weights_sha256: str | None = None
    """Of the weights file's content; None where there is no weights file."""
    colour: Colour = "rgb"
    """`luma`: the system sees brightness only, and its output is replicated to RGB."""
    modalities: tuple[str, ...] = ()
    """Declared modalities; empty means all."""
    training_data: str = "not disclosed"
    """`clean by declaration`, `overlap declared: …`, `not disclosed` or `none`."""
    code_licence: str = "unknown"
    weights_licence: str = "unknown"
    source: str = ""
    bits_per_image: float | None = None
    """At `resolution`: K·L·log2(codebook size); continuous: D·h·w·16 (not a code); for codecs
    the budget (the measured bits are in the per-image rows); None for bounds."""
    cannot: dict[str, str] = field(default_factory=dict)
    """Abilities that the system lacks, each with the reason: {"features": "a codec has none"}."""

    @property
    def full_name(self) -> str:
        """`name@variant`, as every table, record and message prints it."""
        return f"{self.name}@{self.variant}"

    @property
    def bits_per_pixel(self) -> float | None:
        """Nominal bits per pixel at `resolution`; None for bounds."""
        return None if self.bits_per_image is None else self.bits_per_image / self.resolution**2


def code_bits(codebooks: int, positions: int, codebook_size: int) -> float:
    """Nominal bits of one image's codes: K·L·log2(codebook size)."""
    return codebooks * positions * math.log2(codebook_size)


@runtime_checkable
class Tokenizer(Protocol):
    """Images in, codes out, images back.

    Images are float32 (B, 3, H, H) in [0, 1]; a wrapper does its own normalisation, channel
    handling and index layout. Methods run without gradient, do not change state and do not
    depend on the other images of the batch. A side that is not a multiple of
    `info.size_multiple` is refused with a `UsageError`.
    """

    info: TokenizerInfo

    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> `Encoding` of the batch."""
        ...

    def decode(self, encoding: Encoding) -> Tensor:
        """`Encoding` -> float32 (B, 3, H, H); may leave [0, 1]: the runner clamps and counts.

        For kind `discrete`, `Encoding(indices=…)` alone gives the same images.
        """
        ...

    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> float32 (B, L, D): what a language model would get."""
        ...


@runtime_checkable
class ContinuousTokenizer(Tokenizer, Protocol):
    """A tokenizer that also shows its encoder output before quantisation."""

    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> float32 (B, L, D)."""
        ...
