"""The multi-codebook quantiser of MedITok and UniTok.

A latent vector is cut into K chunks; each chunk and each code of its codebook are put on the
unit sphere, and the code with the largest cosine is taken (Ma et al. 2025, arXiv:2502.20321).
Shapes: B images, L positions, K codebooks, V codes per book, D dimensions per code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

_BLOCK = 64
_SCORES = 1 << 20
"""Scores held at a time on a processor, 4 MB: they stay in its cache."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What quantisation in training gives."""

    z: torch.Tensor
    """Chunks on the unit sphere before quantisation, (B, L, K, D)."""
    zq: torch.Tensor
    """Quantised latent (B, L, K·D); gradients pass straight to the encoder."""
    indices: torch.Tensor
    """int64 (B, K, L)."""
    vq_loss: torch.Tensor
    """Scalar, mean over codebooks: mse(codes, sg z) + beta · mse(sg codes, z)."""
    entropy_loss: torch.Tensor
    """Scalar, mean over codebooks; 0 where it is not asked for."""
    usage: torch.Tensor
    """Scalar, mean over codebooks: share of codes that this batch used, in [0, 1]."""


class Codebook(nn.Module):
    """V codes and the running share of the tokens that each one took in training."""

    vocab_usage: torch.Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vocab_usage", torch.zeros(size))
        self.codebook = nn.Embedding(size, width)
        self.batches_seen = 0

    def unit_codes(self) -> torch.Tensor:
        """The codes on the unit sphere, (V, D)."""
        return F.normalize(self.codebook.weight, dim=-1)

    def look_up(self, indices: torch.Tensor) -> torch.Tensor:
        """int64 (...) -> unit codes (..., D)."""
        return F.normalize(self.codebook(indices), dim=-1)

    @torch.no_grad()
    def record_usage(self, indices: torch.Tensor) -> torch.Tensor:
        """Add a batch of indices to `vocab_usage`; return the share of codes used, in [0, 1]."""
        size = self.vocab_usage.numel()
        share = indices.flatten().bincount(minlength=size).float() / indices.numel()
        # A running mean that forgets slowly, and follows the first batches faster.
        weight = 1.0 if self.batches_seen == 0 else 0.1 if self.batches_seen < 100 else 0.01
        self.vocab_usage.lerp_(share, weight)
        self.batches_seen += 1
        return (share > 0.01 / size).float().mean()


class MultiCodebookQuantizer(nn.Module):
    """K codebooks side by side.

    Args:
        vocab_size: codes of all books together.
        vocab_width: latent dimensions, all books together.
        num_codebooks: K.
        beta: weight of the commitment term.
        entropy_temperature: softmax temperature of the entropy loss; None leaves it out.
    """

    def __init__(
        self,
        vocab_size: int,
        vocab_width: int,
        num_codebooks: int,
        *,
        beta: float = 0.25,
        entropy_temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.beta = beta
        self.entropy_temperature = entropy_temperature
        self.codebooks = nn.ModuleList(
            Codebook(vocab_size // num_codebooks, vocab_width // num_codebooks)
            for _ in range(num_codebooks)
        )

    @property
    def books(self) -> list[Codebook]:
        """The codebooks in order; `.codebook.weight` (V, D) are the raw codes."""
        return [book for book in self.codebooks if isinstance(book, Codebook)]

    def chunks(self, z: torch.Tensor) -> torch.Tensor:
        """Latent (B, L, K·D) -> chunks on the unit sphere (B, L, K, D)."""
        return F.normalize(z.unflatten(-1, (len(self.codebooks), -1)), dim=-1)

    @torch.no_grad()
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        """Latent (B, L, K·D) -> indices int64 (B, K, L)."""
        return self._nearest(self.chunks(z))

    def _nearest(self, chunks: torch.Tensor) -> torch.Tensor:
        found = [
            nearest_code(chunks[:, :, k].flatten(0, 1), book.unit_codes())
            for k, book in enumerate(self.books)
        ]
        return torch.stack(found).unflatten(1, chunks.shape[:2]).transpose(0, 1).contiguous()

    def look_up(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices int64 (B, K, L) -> quantised latent (B, L, K·D): unit codes side by side."""
        codes = [book.look_up(indices[:, k]) for k, book in enumerate(self.books)]
        return torch.cat(codes, dim=-1)

    def forward(self, z: torch.Tensor) -> Quantised:
        """Quantise for training: losses, straight-through gradient, usage record."""
        chunks = self.chunks(z)
        indices = self._nearest(chunks.detach())
        codes = self.look_up(indices).unflatten(-1, chunks.shape[-2:])
        # All books have the same size, so one mean over all elements is the mean over books.
        commitment = F.mse_loss(codes.detach(), chunks)
        loss = F.mse_loss(codes, chunks.detach()) + self.beta * commitment
        zq = chunks + (codes - chunks).detach()
        usages = [self._usage(book, indices[:, k]) for k, book in enumerate(self.books)]
        return Quantised(
            z=chunks,
            zq=zq.flatten(2),
            indices=indices,
            vq_loss=loss,
            entropy_loss=self._entropy_loss(chunks),
            usage=torch.stack(usages).mean(),
        )

    def _usage(self, book: Codebook, indices: torch.Tensor) -> torch.Tensor:
        if self.training:
            return book.record_usage(indices)
        return indices.new_tensor(indices.unique().numel() / book.codebook.num_embeddings).float()

    def _entropy_loss(self, chunks: torch.Tensor) -> torch.Tensor:
        if self.entropy_temperature is None:
            return chunks.new_zeros(())
        losses = [
            entropy_loss(chunks[:, :, k].flatten(0, 1), book.unit_codes(), self.entropy_temperature)
            for k, book in enumerate(self.books)
        ]
        return torch.stack(losses).mean()


def nearest_code(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Index of the code with the largest dot product; the first one on ties.

    Args:
        vectors: (N, D).
        codes: (V, D).

    Returns:
        int64 (N,).

    Scores are made a few rows at a time, in the same memory, and reduced in two levels: the maximum
    of a block vectorises where a plain argmax does not, and nothing of size N × V is ever held.
    """
    size, device = codes.shape[0], vectors.device
    codes = codes.detach().T.contiguous()
    vectors = vectors.detach().to(codes.dtype)
    chunk = min(max(_SCORES // size, 16), 256) * (1 if device.type == "cpu" else 16)
    chunk = max(min(chunk, len(vectors)), 1)
    buffer = codes.new_empty(chunk, size)
    places = torch.arange(chunk, device=device)
    found = torch.empty(len(vectors), dtype=torch.int64, device=device)
    for rows, target in zip(vectors.split(chunk), found.split(chunk), strict=True):
        scores = torch.mm(rows, codes, out=buffer[: len(rows)])
        if size % _BLOCK:
            target.copy_(scores.argmax(dim=1))
            continue
        blocks = scores.unflatten(1, (-1, _BLOCK))
        best = blocks.amax(dim=2).argmax(dim=1)
        within = blocks[places[: len(rows)], best].argmax(dim=1)
        target.copy_(best * _BLOCK + within)
    return found


def entropy_loss(vectors: torch.Tensor, codes: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean entropy of each vector's soft assignment minus the entropy of the mean assignment.

    Args:
        vectors: unit vectors (N, D).
        codes: unit codes (V, D).
        temperature: divides the squared distances before the softmax.
    """
    squared = vectors.square().sum(1, keepdim=True) + codes.square().sum(1)
    logits = -torch.addmm(squared, vectors, codes.T, alpha=-2) / temperature
    log_share = logits.log_softmax(dim=1)
    share = log_share.exp()
    mean_share = share.mean(dim=0)
    of_each = -(share * log_share).sum(dim=1).mean()
    of_mean = -(mean_share * (mean_share + 1e-7).log()).sum()
    return of_each - of_mean
