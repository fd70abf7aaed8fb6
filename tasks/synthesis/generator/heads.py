"""From tokens to the trunk and back: embeddings, and heads for one and for several codebooks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .blocks import Block, Cache, RMSNorm
from .config import GeneratorConfig

Choose = Callable[[int, Tensor], Tensor]
"""(codebook, logits (B, V)) -> the chosen codes, int64 (B,)."""


class SummedEmbedding(nn.Module):
    """One table per codebook; a position is the sum of its codes' vectors."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.codebooks = nn.ModuleList(
            nn.Embedding(config.codebook_size, config.dim) for _ in range(config.num_codebooks)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 (B, K, L) -> (B, L, D)."""
        tables = zip(self.codebooks, tokens.unbind(1), strict=True)
        return torch.stack([table(codes) for table, codes in tables]).sum(0)


class SingleEmbedding(nn.Embedding):
    """The only codebook's table."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config.vocab_size, config.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 (B, 1, L) -> (B, L, D)."""
        return super().forward(tokens[:, 0])


class PlainHead(nn.Linear):
    """A position's vector to the logits of its only code."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config.dim, config.vocab_size, bias=False)

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """(N, D), int64 (N, 1) -> (N, 1, V)."""
        del codes
        return self(hidden)[:, None]

    def draw(self, hidden: Tensor, choose: Choose) -> Tensor:
        """(B, D) -> the chosen codes, int64 (B, 1)."""
        return choose(0, self(hidden))[:, None]


class CodeHead(nn.Module):
    """A small transformer over the K codes of one position, each given those before it.

    Its sequence is the position's vector, then the embedded codes 0 to K-2; place k gives the
    logits of code k. It has no positions of its own: the tables tell the codebooks apart.

    Source: Ma et al., "UniTok: a unified tokenizer for visual generation and understanding",
    2025, section 3.4.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.codebooks = nn.ModuleList(
            nn.Embedding(config.codebook_size, config.dim) for _ in range(config.num_codebooks - 1)
        )
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_output_layer))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.linear_head = nn.Linear(config.dim, config.codebook_size)

    def logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """(N, D), int64 (N, K) -> (N, K, V): of every code, given the true ones before it."""
        before = zip(self.codebooks, codes.unbind(1), strict=False)
        x = torch.stack([hidden, *(table(code) for table, code in before)], dim=1)
        for layer in self.layers:
            x = layer(x)
        return self.linear_head(self.norm(x))

    def draw(self, hidden: Tensor, choose: Choose) -> Tensor:
        """(B, D) -> the chosen codes, int64 (B, K), one after the other."""
        books = len(self.codebooks) + 1
        caches = [Cache(books) for _ in self.layers]
        chosen: list[Tensor] = []
        x = hidden[:, None]
        for book in range(books):
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, cache=cache)
            chosen.append(choose(book, self.linear_head(self.norm(x))[:, 0]))
            if book < len(self.codebooks):
                x = self.codebooks[book](chosen[-1])[:, None]
        return torch.stack(chosen, dim=1)
