"""TokenFlow's quantiser: two codebooks with one index, applied to a residual scale after scale.

A code is a pair: a semantic and a pixel vector, each on the unit sphere; a latent vector takes the
code whose two squared distances add up to the least (Qu et al. 2024, arXiv:2412.03069).
Shapes: B images, V codes, D = S + P dimensions (semantic and pixel half), L positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..tokenizers.quantizer import nearest_code

_USAGE_RECORD = 131072
"""Length of upstream's record of the codes last used."""

_ENTROPY_TEMPERATURE = 0.01
_ENTROPY_FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class SharedQuantised:
    """What quantisation in training gives."""

    zq: torch.Tensor
    """Unit codes (B, D, h, w); gradients pass straight to the encoder."""
    indices: torch.Tensor
    """int64 (B·h·w,)."""
    vq_loss: torch.Tensor
    """Scalar: mean squared distance of the codes from the (fixed) latent."""
    commit_loss: torch.Tensor
    """Scalar: the same of the latent from the (fixed) codes, times beta."""
    entropy_loss: torch.Tensor
    """Scalar: mean entropy of each assignment minus entropy of the mean, times its ratio."""


@dataclass(frozen=True, slots=True)
class ScaleCodes:
    """An image's codes on all scales."""

    indices: torch.Tensor
    """int64 (B, L): scale after scale, each in raster order."""
    zq: torch.Tensor
    """Sum of the scales at the last one's grid, (B, D, g, g)."""


class SharedQuantizer(nn.Module):
    """V codes with a semantic and a pixel half.

    Args:
        codes: V.
        split: S and P.
        beta: weight inside the commitment loss.
        entropy_ratio: weight inside the entropy loss.
        usage_record: whether the state dict has upstream's record of the codes last used.
    """

    codebook_used: torch.Tensor

    def __init__(
        self,
        codes: int,
        split: tuple[int, int],
        *,
        beta: float = 1.0,
        entropy_ratio: float = 0.0,
        usage_record: bool = True,
    ) -> None:
        super().__init__()
        self.split = split
        self.beta = beta
        self.entropy_ratio = entropy_ratio
        if usage_record:
            self.register_buffer("codebook_used", torch.zeros(_USAGE_RECORD))
        self.embedding_vqkd = nn.Embedding(codes, split[0])
        self.embedding_vqgan = nn.Embedding(codes, split[1])

    def unit_codes(self) -> torch.Tensor:
        """(V, D): both halves on the unit sphere."""
        halves = (self.embedding_vqkd.weight, self.embedding_vqgan.weight)
        return torch.cat([F.normalize(half, dim=1) for half in halves], dim=1)

    def unit_vectors(self, z: torch.Tensor) -> torch.Tensor:
        """Latent (B, D, h, w) -> vectors (B·h·w, D), both halves on the unit sphere."""
        halves = z.permute(0, 2, 3, 1).flatten(0, 2).split(self.split, dim=1)
        return torch.cat([F.normalize(half, dim=1) for half in halves], dim=1)

    @torch.no_grad()
    def encode_scales(self, z: torch.Tensor, scales: Sequence[int]) -> ScaleCodes:
        """Quantise what earlier scales have left, scale after scale.

        Args:
            z: latent (B, D, g, g), g the last scale.
            scales: cells along one side.
        """
        codes = self.unit_codes()
        found = []
        zq = torch.zeros_like(z)
        residual = z
        for scale in scales:
            reduced = F.interpolate(residual, size=(scale, scale), mode="area")
            # Unit vectors: the sum of the two squared distances is 4 minus twice this product.
            indices = nearest_code(self.unit_vectors(reduced), codes).unflatten(0, (len(z), -1))
            step = _enlarge(codes[indices], scale, scales[-1])
            zq = zq + step
            residual = residual - step
            found.append(indices)
        return ScaleCodes(torch.cat(found, dim=1), zq)

    def look_up_scales(self, indices: torch.Tensor, scales: Sequence[int]) -> torch.Tensor:
        """Indices int64 (B, L) -> the sum of the scales (B, D, g, g), as in `encode_scales`."""
        codes = self.unit_codes()
        zq = codes.new_zeros(len(indices), codes.shape[1], scales[-1], scales[-1])
        parts = indices.split([scale**2 for scale in scales], dim=1)
        for part, scale in zip(parts, scales, strict=True):
            zq = zq + _enlarge(codes[part], scale, scales[-1])
        return zq

    def forward(self, z: torch.Tensor) -> SharedQuantised:
        """Quantise one scale (B, D, h, w) for training: losses and straight-through gradient."""
        return quantise_units(
            self.unit_vectors(z),
            self.unit_codes(),
            grid=(len(z), z.shape[2], z.shape[3]),
            beta=self.beta,
            entropy_ratio=self.entropy_ratio,
        )


def quantise_units(
    vectors: torch.Tensor,
    codes: torch.Tensor,
    *,
    grid: tuple[int, int, int],
    beta: float,
    entropy_ratio: float,
) -> SharedQuantised:
    """Replace unit vectors (B·h·w, D) by their nearest unit codes (V, D), with all losses.

    Args:
        vectors: in raster order, image after image.
        codes: of the book.
        grid: B, h and w.
        beta: weight inside the commitment loss.
        entropy_ratio: weight inside the entropy loss.
    """
    indices = nearest_code(vectors, codes)
    chosen = codes[indices]
    zq = vectors + (chosen - vectors).detach()
    entropy = vectors.new_zeros(())
    if entropy_ratio:  # it holds N x V numbers several times over
        entropy = entropy_ratio * soft_entropy_loss(vectors, codes)
    return SharedQuantised(
        zq=zq.unflatten(0, grid).permute(0, 3, 1, 2),
        indices=indices,
        vq_loss=F.mse_loss(chosen, vectors.detach()),
        commit_loss=beta * F.mse_loss(chosen.detach(), vectors),
        entropy_loss=entropy,
    )


def _enlarge(codes: torch.Tensor, scale: int, grid: int) -> torch.Tensor:
    """Codes (B, scale², D) of one scale -> (B, D, grid, grid), by a bicubic filter."""
    cells = codes.transpose(1, 2).unflatten(2, (scale, scale))
    return F.interpolate(cells, size=(grid, grid), mode="bicubic")


def soft_entropy_loss(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Mean entropy of each assignment minus entropy of the mean assignment.

    Args:
        vectors: unit vectors (N, D).
        codes: unit codes (V, D).
    """
    squared = vectors.square().sum(1, keepdim=True) + codes.square().sum(1)
    logits = -torch.addmm(squared, vectors, codes.T, alpha=-2) / _ENTROPY_TEMPERATURE
    log_share = logits.log_softmax(dim=1)
    share = log_share.exp()
    mean_share = share.mean(dim=0)
    of_each = -(share * log_share).sum(dim=1).mean()
    of_mean = -(mean_share * (mean_share + _ENTROPY_FLOOR).log()).sum()
    return of_each - of_mean
