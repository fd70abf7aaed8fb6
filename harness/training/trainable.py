"""What a tokenizer brings to its training: its network and its method's own losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What a tokenizer gives for a batch in training.

    Attributes:
        images: (B, C, H, W) about [-1, 1], not clamped.
        latents: what the decoder gets, (B, D, h, w).
        vectors: what each book is asked for, (N, K, D), image after image; None where there are
            no books.
        indices: the codes that were taken, int64 (N, K); None where the pass left them out.
        tokens: (B, L, E) after the latent, where the network makes them; what a language model
            gets.
        terms: the method's own losses, weighted.
        target: what `images` are compared with, of the same shape; None for the batch itself. A
            network that sees brightness only has C = 1 here.
    """

    images: torch.Tensor
    latents: torch.Tensor
    vectors: torch.Tensor | None = None
    indices: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    terms: Mapping[str, torch.Tensor] = field(default_factory=dict)
    target: torch.Tensor | None = None


class Trainable(Protocol):
    """A tokenizer's network with what its method adds in training."""

    @property
    def network(self) -> nn.Module:
        """What is trained, averaged and saved."""
        ...

    @property
    def spherical(self) -> bool:
        """Whether its codes matter by direction only."""
        ...

    @property
    def last_layer(self) -> torch.Tensor:
        """The kernel that makes pixels; adversarial gradients are measured at it."""
        ...

    def books(self) -> Sequence[torch.Tensor]:
        """Each book's codes (V, D); empty where the method has none."""
        ...

    def codes_placed(self) -> None:
        """Set what follows from the books, which have just got their first codes."""
        ...

    def reconstruct(
        self, images: torch.Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """Images (B, 3, H, W) in [-1, 1] -> their reconstruction and the method's losses.

        Args:
            images: this process's share of a batch.
            quantise: False passes the latent on as it is, while there are no codes yet.
            generator: for methods that draw at random; the same on every process.
        """
        ...

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's weights in upstream's keys and shapes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers from step to step beside the network's own state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...
