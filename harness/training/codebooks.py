"""The care of codebooks in training: a first guess by k-means, usage, and revival of dead codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from . import parallel

_ROUNDS = 6
_DEAD_SHARE = 0.1
"""A code is dead when it takes less than this share of what an even spread would give it."""
_LEAST_WEIGHT = 0.01
"""Of a batch in the running mean of each code's share, once a hundred batches were seen."""
_ROWS = 4096
"""Vectors compared with all centres at a time."""


class CodebookKeeper:
    """Keeps the codes of one or several books near the vectors that are to be quantised.

    Args:
        books: each book's codes (V, D), changed in place.
        spherical: whether only the direction of codes and vectors matters.
    """

    def __init__(self, books: Sequence[torch.Tensor], *, spherical: bool) -> None:
        self.books = list(books)
        self.spherical = spherical
        self.usage = [torch.full((len(book),), 1 / len(book)) for book in self.books]
        """Running mean of the share of vectors that each code takes, (V,) a book."""
        self.untried = [torch.zeros(len(book), dtype=torch.bool) for book in self.books]
        """Which codes were revived, and taken by no vector since, (V,) a book."""
        self.batches = 0
        """Batches that the usage is a mean of."""
        self._recent: torch.Tensor | None = None

    @torch.no_grad()
    def initialise(self, vectors: torch.Tensor, generator: torch.Generator) -> None:
        """Put the codes where vectors (N, K, D) are, by k-means of the first process."""
        for k, book in enumerate(self.books):
            found = kmeans(
                vectors[:, k].contiguous(), len(book), generator, spherical=self.spherical
            )
            book.copy_(found)
        parallel.copy_from_first([book.data for book in self.books])

    @torch.no_grad()
    def observe(self, vectors: torch.Tensor, indices: torch.Tensor) -> None:
        """Take note of a batch: vectors (N, K, D) and the codes (N, K) that they took."""
        self._recent = vectors.detach()
        shares = [
            torch.bincount(indices[:, k], minlength=len(book)).float() / len(indices)
            for k, book in enumerate(self.books)
        ]
        parallel.sum_over_processes(shares)
        self.batches += 1
        weight = max(_LEAST_WEIGHT, 1 / self.batches)
        for usage, untried, share in zip(self.usage, self.untried, shares, strict=True):
            usage.lerp_(share.cpu() / parallel.world_size(), weight)
            untried &= share.cpu() == 0

    @torch.no_grad()
    def revive(self, generator: torch.Generator) -> None:
        """Move dead codes onto vectors of the last batch, of all processes.

        Each process does so by itself, with a generator in the same state.
        """
        if self._recent is None:
            return
        recent = parallel.gather_rows(self._recent)
        for k, (book, usage) in enumerate(zip(self.books, self.usage, strict=True)):
            even = 1 / len(book)
            vectors = recent[:, k]
            dead = (usage < _DEAD_SHARE * even).nonzero().flatten()[: len(vectors)]
            picked = torch.randperm(len(vectors), generator=generator)[: len(dead)]
            book[dead] = vectors[picked].to(book.dtype)
            # As if it had its even share, so that it is given time to find vectors.
            usage[dead] = even
            self.untried[k][dead] = True

    @property
    def live(self) -> float:
        """Share of codes that vectors take, mean over the books, in [0, 1].

        Neither dead codes count nor those that no vector has taken since they were revived.
        """
        alive = [
            ((usage >= _DEAD_SHARE / len(usage)) & ~untried).float().mean()
            for usage, untried in zip(self.usage, self.untried, strict=True)
        ]
        return float(torch.stack(alive).mean())

    @property
    def waiting(self) -> float:
        """Share of codes that no vector has taken since they were revived, mean over the books."""
        return float(torch.stack([untried.float().mean() for untried in self.untried]).mean())

    def state_dict(self) -> dict[str, Any]:
        """The usage of every book."""
        return {
            "usage": [usage.clone() for usage in self.usage],
            "untried": [untried.clone() for untried in self.untried],
            "batches": self.batches,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.batches = int(state["batches"])
        for own, kept in zip(self.usage, state["usage"], strict=True):
            own.copy_(kept)
        for own, kept in zip(self.untried, state.get("untried", self.untried), strict=True):
            own.copy_(kept)


def kmeans(
    vectors: torch.Tensor, count: int, generator: torch.Generator, *, spherical: bool
) -> torch.Tensor:
    """Centres of vectors, by a few rounds of Lloyd's algorithm from vectors chosen at random.

    Args:
        vectors: (N, D), N at least 1 (where N < `count`, vectors are repeated); of unit length
            where `spherical`.
        count: number of centres.
        generator: chooses the first centres.
        spherical: unit centres by cosine, else means by squared distance.

    Returns:
        (count, D). A centre that loses all its vectors stays where it was.
    """
    order = torch.randperm(len(vectors), generator=generator)
    repeats = -(-count // len(vectors))
    centres = vectors[order.repeat(repeats)[:count]].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(vectors, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        if spherical:
            filled = sums.norm(dim=1) > 1e-6
            centres[filled] = F.normalize(sums[filled], dim=-1)
        else:
            sizes = torch.bincount(nearest, minlength=count)
            filled = sizes > 0
            centres[filled] = sums[filled] / sizes[filled, None]
    return centres


def _nearest(vectors: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    # The largest v·c - |c|²/2 is the smallest distance, and on the sphere the largest cosine.
    offset = centres.square().sum(dim=1) / 2
    return torch.cat([(v @ centres.T - offset).argmax(dim=1) for v in vectors.split(_ROWS)])
