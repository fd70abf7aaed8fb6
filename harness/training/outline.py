"""What a stage will do, in words and numbers, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from .adversarial import AdversarialTerms, DiscriminatorKind, unknown_discriminator
from .config_terms import read_fields
from .optimiser import parameter_groups
from .prerequisites import discriminator_kinds
from .presets import recipe_module
from .run_plan import Stage
from .settings import OptimiserSettings, TrainingSettings
from .sketches import sketch_alignment
from .teachers.build import MINIATURE
from .tokenizer_recipe import Trained
from .tokenizer_terms import TokenizerTerms, sections

_POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the decay at which the learning rate is shown."""


def outline(stage: Stage, earlier: Sequence[Stage] = ()) -> str:
    """Length, parameter groups, learning-rate curves and losses of a stage.

    Nothing is loaded: networks are built without memory, so that any size takes a moment.

    Args:
        stage: of a run.
        earlier: the run's stages before it.

    Raises:
        UsageError: the configuration is wrong.
    """
    config = stage.config
    settings = read_fields(TrainingSettings, config["settings"], f"{stage.name}.settings")
    lines = [f"{stage.name}: recipe {stage.recipe}"]
    lines += _length(config, settings)
    lines += _optimiser("optimiser", settings.optimiser, settings.steps)
    module = recipe_module(stage.recipe)
    if hasattr(module, "make"):
        terms = read_fields(TokenizerTerms, sections(config), "the configuration")
        with torch.device("meta"):
            network = module.make(config, seed=0).network
        lines += _trained(network, terms, settings.optimiser.weight_decay, earlier)
        if terms.adversarial is not None and settings.opponent is not None:
            kinds = discriminator_kinds(module)
            lines += _discriminator(terms.adversarial, kinds, settings.opponent.weight_decay)
            lines += _optimiser("discriminator's optimiser", settings.opponent, settings.steps)
        lines += _losses(config, terms)
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


def _trained(
    network: nn.Module, terms: TokenizerTerms, weight_decay: float, earlier: Sequence[Stage]
) -> list[str]:
    """What the optimiser holds: the network, the heads beside it, and their common groups."""
    lines = [f"network: {_count(network.parameters())}"]
    alignment = None
    if terms.alignment is not None:
        alignment = sketch_alignment(terms.alignment, network, earlier)
        if alignment is None:
            lines.append("alignment heads: their size follows from the teacher's files")
        else:
            heads = alignment.trained_parts()
            sizes = ", ".join(f"{n} {_size(part.parameters()):,}" for n, part in heads.items())
            counted = [each for part in heads.values() for each in part.parameters()]
            lines.append(f"alignment heads: {_count(counted)}: {sizes}")
            if "text_encoder" in heads and terms.alignment.teacher.name == MINIATURE:
                lines.append("  (its vocabulary, which follows from the captions, not counted)")
    return lines + _groups(Trained(network, alignment), weight_decay)


def _discriminator(
    terms: AdversarialTerms, kinds: Mapping[str, DiscriminatorKind], weight_decay: float
) -> list[str]:
    if terms.kind not in kinds:
        raise unknown_discriminator(terms.kind, kinds)
    with torch.device("meta"):
        judge = kinds[terms.kind].sketch(terms.discriminator)
    risen = f", risen over {terms.warmup_steps:,.0f} steps" if terms.warmup_steps else ""
    return [
        f"discriminator's heads ({terms.kind}): {_count(judge.parameters())}; from step "
        f"{terms.start_step:,}, weight {terms.weight:g}{risen}",
        *_groups(judge, weight_decay),
    ]


def _groups(network: nn.Module, weight_decay: float) -> list[str]:
    return [
        f"  weight decay {group['weight_decay']:g}: {_count(group['params'])}"
        for group in parameter_groups(network.named_parameters(), weight_decay=weight_decay)
    ]


def _count(parameters: Iterable[torch.Tensor]) -> str:
    tensors = list(parameters)
    return f"{_size(tensors):,} parameters in {len(tensors)} tensors"


def _size(parameters: Iterable[torch.Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _losses(config: Mapping[str, Any], terms: TokenizerTerms) -> list[str]:
    """The weights of the losses, with the defaults that the configuration leaves out."""
    shown = asdict(terms)
    lines = ["losses:"]
    lines += [
        f"  {name}: {_words(shown[name]) if shown[name] is not None else 'none'}"
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
