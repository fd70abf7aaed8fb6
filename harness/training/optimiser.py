"""The optimiser's parameter groups: who decays and who does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    named: Iterable[tuple[str, nn.Parameter]],
    *,
    weight_decay: float,
    rate_scale: Callable[[str], float] = lambda _: 1.0,
) -> list[dict[str, Any]]:
    """Groups of the parameters that are trained: by rate, and by whether they decay.

    Each group carries the parameters' names under `names`, in order, and its rate relative to the
    run's under `rate_scale` where it has another one.
    """
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            scale, decayed = rate_scale(name), decays(name, parameter)
            own_rate = {} if scale == 1.0 else {"rate_scale": scale}
            decay = weight_decay if decayed else 0.0
            empty = {"params": [], "names": [], "weight_decay": decay, **own_rate}
            group = groups.setdefault((-scale, not decayed), empty)
            group["params"].append(parameter)
            group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def build_optimiser(
    model: nn.Module,
    settings: OptimiserSettings,
    rate_scale: Callable[[str], float] = lambda _: 1.0,
) -> torch.optim.AdamW:
    """AdamW over the model's trainable parameters."""
    return torch.optim.AdamW(
        parameter_groups(
            model.named_parameters(), weight_decay=settings.weight_decay, rate_scale=rate_scale
        ),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        # One pass over the memory: with large tables of vectors, five times as fast on a CPU.
        fused=True,
    )


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group this learning rate, times its own scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("rate_scale", 1.0)
