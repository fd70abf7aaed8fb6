"""What a stage will do, in words and numbers, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from .config_terms import read_fields
from .optimiser import parameter_groups
from .presets import recipe_module
from .run_plan import Stage
from .settings import OptimiserSettings, TrainingSettings

_POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the decay at which the learning rate is shown."""


def outline(stage: Stage) -> str:
    """Length, parameter groups, learning-rate curve and losses of a stage.

    Nothing is loaded: the network is built without memory, so that any size takes a moment.

    Raises:
        UsageError: the configuration is wrong.
    """
    config = stage.config
    settings = read_fields(TrainingSettings, config["settings"], f"{stage.name}.settings")
    lines = [f"{stage.name}: recipe {stage.recipe}"]
    lines += _length(config, settings)
    lines += _optimiser("optimiser", settings.optimiser, settings.steps)
    if settings.opponent is not None:
        lines += _optimiser("discriminator's optimiser", settings.opponent, settings.steps)
    make = getattr(recipe_module(stage.recipe), "make", None)
    if make is not None:
        with torch.device("meta"):
            network = make(config, seed=0).network
        lines += _groups(network, settings.optimiser.weight_decay)
        lines += _losses(config)
    return "\n".join([lines[0], *(f"  {line}" for line in lines[1:])])


def _length(config: Mapping[str, Any], settings: TrainingSettings) -> list[str]:
    data = config.get("data", {})
    batch = data.get("batch_size", 0) * settings.batches_per_step
    line = f"{settings.steps:,} steps of {batch} images"
    if epoch := data.get("epoch_images"):
        line += f" ({settings.steps * batch / epoch:.3g} epochs of {epoch:,} images)"
    shown = [line, f"precision {settings.precision}, seed {settings.seed}"]
    if settings.ema_decay:
        shown.append(f"running mean of the weights, decay {settings.ema_decay}")
    if start := config.get("start"):
        shown.append(f"starts from {_words(start)}")
    return shown


def _optimiser(name: str, settings: OptimiserSettings, steps: int) -> list[str]:
    schedule = settings.schedule(steps)
    warm = min(int(settings.warmup_steps), steps - 1)
    places = sorted({0, warm, *(round(warm + share * (steps - 1 - warm)) for share in _POINTS)})
    rates = ", ".join(f"{place:,}: {schedule.rate(place):.3g}" for place in places)
    clip = f", gradient norm at most {settings.gradient_clip:g}" if settings.gradient_clip else ""
    return [
        f"{name}: AdamW, learning rate {settings.learning_rate:g}, betas {settings.betas}, "
        f"weight decay {settings.weight_decay:g}, epsilon {settings.epsilon:g}{clip}",
        f"  learning rate by step: {rates}",
    ]


def _groups(network: nn.Module, weight_decay: float) -> list[str]:
    lines = [f"network: {_count(network.parameters())}"]
    for group in parameter_groups(network.named_parameters(), weight_decay=weight_decay):
        size = _count(group["params"])
        lines.append(f"  weight decay {group['weight_decay']:g}: {size}")
    return lines


def _count(parameters: Iterable[torch.Tensor]) -> str:
    sizes = [parameter.numel() for parameter in parameters]
    return f"{sum(sizes):,} parameters in {len(sizes)} tensors"


def _losses(config: Mapping[str, Any]) -> list[str]:
    """The weights of the losses, with the defaults that the configuration leaves out."""
    from .tokenizer_terms import TokenizerTerms, sections

    terms = asdict(read_fields(TokenizerTerms, sections(config), "the configuration"))
    lines = ["losses:"]
    lines += [
        f"  {name}: {_words(terms[name]) if terms[name] is not None else 'none'}"
        for name in ("pixels", "codebooks", "perceptual", "adversarial", "alignment")
    ]
    if method := config.get("method"):
        lines.append(f"  method: {_words(method)}")
    if model := config.get("model"):
        vq = {key: model[key] for key in ("vq_beta", "le", "e_temp") if key in model}
        lines.append(f"  quantiser: weight 1, {_words(vq)}" if vq else "  quantiser: weight 1")
    return lines


def _words(terms: Mapping[str, Any]) -> str:
    shown = []
    for name, value in terms.items():
        if isinstance(value, Mapping):
            shown.append(f"{name} ({_words(value)})" if value else f"{name} default")
        elif value is not None:
            shown.append(f"{name} {value}")
    return ", ".join(shown)
