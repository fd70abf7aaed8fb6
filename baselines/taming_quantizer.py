"""Single-codebook quantisers of taming-transformers: by distance, and by a learned projection.

Shapes: B images, D dimensions of a latent cell, (h, w) the grid, V codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tokenizers.quantizer import nearest_code


@dataclass(frozen=True, slots=True)
class Quantised:
    """What `VectorQuantizer.forward` gives."""

    zq: Tensor
    """Codes in place (B, D, h, w); gradients pass straight to the encoder."""
    indices: Tensor
    """int64 (B, h, w)."""
    vq_loss: Tensor
    """Scalar."""


def nearest_in_space(vectors: Tensor, codes: Tensor) -> Tensor:
    """Index of the code with the smallest Euclidean distance.

    The search maximises v·c - |c|²/2 (the distance without what all codes share) as one dot
    product with one more dimension, and so runs at the speed of the cosine search.

    Args:
        vectors: (N, D).
        codes: (V, D).

    Returns:
        int64 (N,).
    """
    lengths = codes.square().sum(dim=1, keepdim=True)
    ones = vectors.new_ones(len(vectors), 1)
    return nearest_code(torch.cat([vectors, ones], 1), torch.cat([codes, -lengths / 2], 1))


class VectorQuantizer(nn.Module):
    """The nearest code by squared distance (van den Oord et al. 2017, arXiv:1711.00937).

    Args:
        n_e: codes.
        e_dim: dimensions of a code.
        beta: weight of one of the two loss terms.
        legacy: True puts `beta` on the codebook's term, as every published VQGAN was trained;
            False on the commitment term, as the paper has it.
    """

    def __init__(self, n_e: int, e_dim: int, *, beta: float = 0.25, legacy: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_e, e_dim)
        self.beta = beta
        self.legacy = legacy

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Latent (B, D, h, w) -> indices int64 (B, h, w)."""
        vectors = z.permute(0, 2, 3, 1)
        found = nearest_in_space(vectors.flatten(0, 2), self.embedding.weight)
        return found.reshape(vectors.shape[:3])

    def look_up(self, indices: Tensor) -> Tensor:
        """Indices int64 (B, h, w) -> codes in place (B, D, h, w)."""
        return self.embedding(indices).permute(0, 3, 1, 2).contiguous()

    def forward(self, z: Tensor) -> Quantised:
        """Quantise with loss: mse(z, sg codes) and mse(codes, sg z), one of them times beta."""
        indices = self.encode(z)
        codes = self.look_up(indices)
        commitment = F.mse_loss(z, codes.detach())
        codebook = F.mse_loss(codes, z.detach())
        kept, weighted = (commitment, codebook) if self.legacy else (codebook, commitment)
        return Quantised(z + (codes - z).detach(), indices, kept + self.beta * weighted)


class GumbelQuantizer(nn.Module):
    """The code with the largest logit of a 1×1 projection.

    Upstream adds Gumbel noise even in evaluation; here the most likely code is taken, so that the
    same image gives the same codes.

    Args:
        n_e: codes.
        e_dim: dimensions of a code and of the latent.
    """

    def __init__(self, n_e: int, e_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(e_dim, n_e, 1)
        self.embed = nn.Embedding(n_e, e_dim)

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Latent (B, D, h, w) -> indices int64 (B, h, w)."""
        return self.proj(z).argmax(dim=1)

    def look_up(self, indices: Tensor) -> Tensor:
        """Indices int64 (B, h, w) -> codes in place (B, D, h, w)."""
        return self.embed(indices).permute(0, 3, 1, 2).contiguous()
