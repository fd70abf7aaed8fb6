"""LlamaGen's quantiser: one codebook of unit vectors, as its VQGAN trains it.

Sun et al. 2024, arXiv:2406.06525. Shapes: B images, V codes, D dimensions, (h, w) the grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .tokenflow_quantizer import SharedQuantised, quantise_units

_USAGE_RECORD = 65536
"""Length of upstream's record of the codes last used."""


class UnitQuantizer(nn.Module):
    """V codes on the unit sphere.

    Args:
        codes: V.
        dims: D.
        beta: weight inside the commitment loss.
        entropy_ratio: weight inside the entropy loss.
    """

    codebook_used: torch.Tensor

    def __init__(
        self, codes: int, dims: int, *, beta: float = 0.25, entropy_ratio: float = 0.0
    ) -> None:
        super().__init__()
        self.beta = beta
        self.entropy_ratio = entropy_ratio
        self.embedding = nn.Embedding(codes, dims)
        self.register_buffer("codebook_used", torch.zeros(_USAGE_RECORD))

    def forward(self, z: torch.Tensor) -> SharedQuantised:
        """Quantise (B, D, h, w) for training: losses and straight-through gradient."""
        vectors = F.normalize(z.permute(0, 2, 3, 1).flatten(0, 2), dim=1)
        codes = F.normalize(self.embedding.weight, dim=1)
        return quantise_units(
            vectors,
            codes,
            grid=(len(z), z.shape[2], z.shape[3]),
            beta=self.beta,
            entropy_ratio=self.entropy_ratio,
        )
