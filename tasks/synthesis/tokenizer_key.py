"""Whose codes these are: what codes, and a generator of codes, are tied to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...harness.errors import NotApplicable

if TYPE_CHECKING:
    from ...harness.task import Cell

_REASONS = {
    "continuous": "its latents are real numbers, and a generator of codes needs a finite alphabet",
    "codec": "a codec writes bytes of varying length, not a grid of codes",
    "bound": "it is a trivial bound without codes",
}


@dataclass(frozen=True, slots=True)
class TokenizerKey:
    """Identity of a tokenizer, and the shape of its codes.

    Attributes:
        name: of the tokenizer; with its variant where there is no weights file to tell by.
        weights_sha256: of its weights file; None where there is none.
        config_sha256: of a configuration that the user gave; None else.
        codebooks: K.
        codebook_size: V.
        positions: L.
        layout: of the positions, in the generator's terms: `raster` or `sequence`.
    """

    name: str
    weights_sha256: str | None
    config_sha256: str | None
    codebooks: int
    codebook_size: int
    positions: int
    layout: str

    def terms(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def network_terms(self, classes: int) -> dict[str, Any]:
        """The generator's terms that follow from the tokenizer and the number of classes."""
        return {
            "vocab_size": self.codebooks * self.codebook_size,
            "num_codebooks": self.codebooks,
            "block_size": self.positions,
            "layout": self.layout,
            "num_classes": classes,
        }


def tokenizer_key(cell: Cell) -> TokenizerKey:
    """The identity of the cell's tokenizer.

    Raises:
        NotApplicable: it has no codes, or no decoder.
    """
    info, identity = cell.tokenizer.info, cell.identity
    if info.kind != "discrete":
        reason = _REASONS.get(info.kind, "it has no codes")
        message = f"{info.full_name} is of kind {info.kind}: {reason}"
        raise NotApplicable(message)
    for ability in ("encode", "decode"):
        if ability in info.cannot:
            message = f"{info.full_name} cannot {ability}: {info.cannot[ability]}"
            raise NotApplicable(message)
    weights = identity.weights_sha256 if identity else info.weights_sha256
    square = math.isqrt(info.positions) ** 2 == info.positions
    return TokenizerKey(
        name=info.name if weights else info.full_name,
        weights_sha256=weights,
        config_sha256=identity.config_sha256 if identity else None,
        codebooks=info.codebooks,
        codebook_size=info.codebook_size,
        positions=info.positions,
        layout="raster" if info.layout == "raster" and square else "sequence",
    )
