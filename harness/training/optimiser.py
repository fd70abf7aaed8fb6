"""The optimiser's parameter groups: who decays and who does not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn

    from .settings import OptimiserSettings

UNDECAYED_NAMES = ("norm_scale", "bn", "ln", "bias", "logit_scale")
"""A parameter whose name holds one of these is never decayed."""


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: matrices and kernels yes, norms, biases and scales no."""
    return parameter.ndim >= 2 and not any(part in name for part in UNDECAYED_NAMES)


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], *, weight_decay: float
) -> list[dict[str, Any]]:
    """Two groups, with and without decay, of the parameters that are trained; empty ones left out.

    Each group carries the parameters' names under `names`, in order.
    """
    groups: list[dict[str, Any]] = [
        {"params": [], "names": [], "weight_decay": weight_decay},
        {"params": [], "names": [], "weight_decay": 0.0},
    ]
    for name, parameter in named:
        if parameter.requires_grad:
            group = groups[0 if decays(name, parameter) else 1]
            group["params"].append(parameter)
            group["names"].append(name)
    return [group for group in groups if group["params"]]


def build_optimiser(model: nn.Module, settings: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW over the model's trainable parameters."""
    return torch.optim.AdamW(
        parameter_groups(model.named_parameters(), weight_decay=settings.weight_decay),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate
