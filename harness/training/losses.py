"""Losses of tokenizer training that no single model owns.

Source of the forms: UniTok's and MedITok's trainers (Ma et al. 2025, arXiv:2502.20321 and
arXiv:2505.19225); the vector-quantisation losses live with their quantisers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F

from ..errors import UsageError

Adversarial = Literal["hinge", "softplus", "linear"]

_REAL: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "hinge": lambda logits: F.relu(1 - logits),
    "softplus": lambda logits: F.softplus(-logits),
    "linear": lambda logits: -logits,
}


def contrastive_loss(
    features: torch.Tensor, teacher: torch.Tensor, scale: torch.Tensor | float
) -> torch.Tensor:
    """Symmetric cross entropy of the scaled cosines; the i-th pair belongs together.

    Args:
        features: (N, D), any length.
        teacher: (N, D), any length.
        scale: multiplies the cosines (the exponential of CLIP's `logit_scale`).

    Returns:
        Scalar, mean of both directions.

    Source: Radford et al. 2021, figure 3.
    """
    logits = scale * F.normalize(features, dim=1) @ F.normalize(teacher, dim=1).T
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def cosine_loss(features: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """One minus the mean cosine of (N, D) pairs."""
    return 1 - F.cosine_similarity(features, teacher, dim=1).mean()


def real_loss(logits: torch.Tensor, kind: Adversarial = "hinge") -> torch.Tensor:
    """What a discriminator pays for calling real images fake: mean over all logits.

    Raises:
        UsageError: unknown kind.
    """
    if kind not in _REAL:
        message = f"unknown adversarial loss {kind!r}; known: {', '.join(_REAL)}"
        raise UsageError(message)
    return _REAL[kind](logits).mean()


def fake_loss(logits: torch.Tensor, kind: Adversarial = "hinge") -> torch.Tensor:
    """What it pays for calling reconstructions real."""
    return real_loss(-logits, kind)
