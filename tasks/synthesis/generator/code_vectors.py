"""Starting vectors of codes, from what each code is seen beside.

A generator that learns for minutes on two cores meets most codes of a large codebook a few hundred
times: too rarely to learn from a random start which of them mean nearly the same. Codes that are
seen beside the same ones start near each other instead. Network, keys and loss stay as they are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import GeneratorConfig
from .network import Generator

_SPREAD = 0.02
"""Standard deviation, as of random starting vectors."""
_IMAGES = 8
"""At a time: their vectors take some ten megabytes."""


def start_from_context(
    network: Generator, indices: np.ndarray, classes: np.ndarray, *, seed: int
) -> None:
    """Give every table of code vectors in the network `context_vectors`.

    Args:
        network: with starting weights; changed in place.
        indices: unsigned integers (N, K, L), what it will learn.
        classes: int64 (N,).
        seed: of the random vectors.
    """
    vectors = context_vectors(indices, classes, network.config, seed=seed)
    with torch.no_grad():
        # The head's codes go on inside a place, so it has no table of the last codebook.
        for part in (network.tok_embeddings, network.output):
            tables = (module for module in part.modules() if isinstance(module, nn.Embedding))
            for table, own in zip(tables, vectors, strict=False):
                table.weight.copy_(own)


def context_vectors(
    indices: np.ndarray, classes: np.ndarray, config: GeneratorConfig, *, seed: int
) -> Tensor:
    """A vector for each code, float32 (K, V, D), standard deviation 0.02.

    Every code and class gets a random vector. A code's context is the sum of three, of equal
    spread: of the other codebooks' codes at its place, of the codes at the places next to it, and
    of its image's class. Its vector is the sum of its contexts less the mean context, over the
    root of their number, so that rare codes stay near zero; directions are then brought half-way
    to equal spread.

    Source: random indexing (Kanerva, Kristoferson and Holst, "Random indexing of text samples for
    latent semantic analysis", 2000).
    """
    source = torch.Generator().manual_seed(seed)
    books, codes, width = config.num_codebooks, config.codebook_size, config.dim
    of_codes = torch.randn(books, codes, width, generator=source)
    of_classes = torch.randn(config.num_classes, width, generator=source)
    sums, counts = torch.zeros(books, codes, width), torch.zeros(books, codes)
    for start in range(0, len(indices), _IMAGES):
        images = torch.from_numpy(indices[start : start + _IMAGES].astype(np.int64))
        labels = torch.from_numpy(classes[start : start + _IMAGES])
        own = [table[chosen] for table, chosen in zip(of_codes, images.unbind(1), strict=True)]
        place = torch.stack(own).sum(0)
        around = _beside(place / math.sqrt(books), config.layout) + of_classes[labels][:, None]
        for book, chosen in enumerate(images.unbind(1)):
            context = around + (place - own[book]) / math.sqrt(max(1, books - 1))
            sums[book].index_add_(0, chosen.flatten(), context.flatten(0, 1))
            counts[book] += torch.bincount(chosen.flatten(), minlength=codes)
    return torch.stack([_spread(*each, source) for each in zip(sums, counts, strict=True)])


def _beside(vectors: Tensor, layout: str) -> Tensor:
    """Sum over the neighbouring places, (n, L, D): four on a grid, two in a sequence."""
    if layout == "sequence":
        padded = F.pad(vectors, (0, 0, 1, 1))
        return (padded[:, :-2] + padded[:, 2:]) / math.sqrt(2)
    side = math.isqrt(vectors.shape[1])
    padded = F.pad(vectors.unflatten(1, (side, side)), (0, 0, 1, 1, 1, 1))
    rows = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    columns = padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return ((rows + columns) / 2).flatten(1, 2)


def _spread(sums: Tensor, counts: Tensor, source: torch.Generator) -> Tensor:
    mean = sums.sum(0) / counts.sum()
    found = (sums - counts[:, None] * mean) / (counts[:, None] + 1).sqrt()
    left, strengths, _ = torch.linalg.svd(found, full_matrices=False)
    # Turned at random: else the first numbers of every vector would hold nearly all of it.
    width = sums.shape[1]
    turn, _ = torch.linalg.qr(torch.randn(len(strengths), width, generator=source).T)
    vectors = (left * strengths.sqrt()) @ turn.T
    # All zero where every code is seen beside the same ones: there is nothing to tell apart.
    return vectors * (_SPREAD / vectors.std().clamp_min(torch.finfo(vectors.dtype).tiny))
