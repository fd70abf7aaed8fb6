"""What a preset would do, told without doing it: prompt, image, stages, parameters and rates."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...harness.training.optimiser import build_optimiser, set_rate
from .language import Language, with_lora
from .model import AnsweringModel, Projector
from .presets import Preset, SmallLanguage, StageTerms
from .prompt import find_template
from .recipe import AnswerRecipe
from .stages import settings_of, steps_of

MISTRAL_7B = SmallLanguage(
    hidden=4096, layers=32, heads=32, key_value_heads=8, intermediate=14336, vocabulary=32000
)
"""Shape of the published language model, so that it can be outlined without its weights."""

PUBLISHED = {"projector": 555_103, "tuning": 100_000}
"""Captions and questions of the paper's stages (Table S8), for the steps of its epochs.

Which of PubMedVision's they are is not published: a run has those of the lists that are read.
"""

_NUMBERS = 1
"""Features of a token in an outline, which names no tokenizer; sizes are told for each."""
_EXAMPLE = "Is there a pneumothorax?"


@dataclass(frozen=True, slots=True)
class RateGroup:
    """Parameters that share a learning rate.

    Attributes:
        what: `projector`, `adapters` or `language model`.
        parameters: how many numbers.
        rate: after the warm-up.
        weight_decay: of the optimiser.
    """

    what: str
    parameters: int
    rate: float
    weight_decay: float


def shape_of(preset: Preset) -> SmallLanguage:
    """Of the language model."""
    return preset.language if isinstance(preset.language, SmallLanguage) else MISTRAL_7B


def rate_groups(preset: Preset, terms: StageTerms, *, features: int) -> list[RateGroup]:
    """What a stage trains, and how fast; nothing is allocated.

    Args:
        preset: the recipe.
        terms: of one of its stages.
        features: numbers per image token.
    """
    from transformers import MistralConfig, MistralForCausalLM

    shape = shape_of(preset)
    config = MistralConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=isinstance(preset.language, SmallLanguage),
    )
    with torch.device("meta"):
        language = Language(MistralForCausalLM(config), None)
        projector = Projector(features, shape.hidden)
        if terms.trained == "projector":
            language.model.requires_grad_(False)
        if terms.trained == "lora" and preset.lora is not None:
            language = with_lora(language, preset.lora, seed=0)
        model = AnsweringModel(language, projector if terms is not preset.text else None)
    recipe = AnswerRecipe(
        model,
        [],
        None,
        before=[],
        batch=terms.batch,
        questions=preset.questions,
        seed=0,
        projector_scale=(terms.projector_rate or terms.rate) / terms.rate,
    )
    settings = settings_of(terms, terms.batch, seed=0)
    optimiser = build_optimiser(recipe.model, settings.optimiser, recipe.rate_scale)
    set_rate(optimiser, terms.rate)
    found: dict[tuple[str, float, float], int] = {}
    for group in optimiser.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            key = (_what(name), group["lr"], group["weight_decay"])
            found[key] = found.get(key, 0) + parameter.numel()
    return [RateGroup(what, n, rate, decay) for (what, rate, decay), n in found.items()]


def _what(name: str) -> str:
    if name.startswith("projector/"):
        return "projector"
    return "adapters" if "lora_" in name else "language model"


def outline(preset: Preset) -> str:
    """The preset in words and numbers; a projector's depend on the tokenizer, as is said there."""
    template = find_template(preset.template)
    prompt = template.before + "<image>" + template.ask(_EXAMPLE)
    lines = [
        f"preset {preset.name}",
        f"prompt    {prompt!r}, ended by </s>",
        f"caption   {template.before_caption + '<image>' + template.caption + template.lead!r}, "
        f"then it, ended by {template.caption_end or '</s>'!r}",
        "image     stretched to a square of 256 pixels when ingested; "
        + (f"tokens averaged to {preset.side} x {preset.side}" if preset.side else "all tokens"),
        f"answers   greedy, at most {preset.new_tokens} tokens; t = 0.2 with seeds "
        + ", ".join(map(str, preset.samples)),
    ]
    for name in ("text", "projector", "tuning"):
        terms = getattr(preset, name)
        if terms is None:
            continue
        lines.append(
            f"{name:<9} {_length(name, terms)}, batch {terms.batch}, warm-up {terms.warmup:.0%}, "
            f"cosine, {terms.precision}"
            + (f", {terms.pass_units} at a time" if terms.pass_units else "")
            + (", activations computed again" if terms.recompute else "")
        )
        lines += [
            f"          {group.what}: {_size(preset, group)}, rate {group.rate:g}, "
            f"weight decay {group.weight_decay:g}"
            for group in rate_groups(preset, terms, features=_NUMBERS)
        ]
    if preset.lora is not None:
        lora = preset.lora
        lines.append(f"adapters  rank {lora.rank}, alpha {lora.alpha}, dropout {lora.dropout:g}")
    return "\n".join(lines)


def _length(name: str, terms: StageTerms) -> str:
    if not terms.epochs:
        return f"{terms.steps} steps"
    units = PUBLISHED[name]
    steps = steps_of(terms, units)
    return f"{terms.epochs} epochs of {units:,} as published ({steps:,} steps)"


def _size(preset: Preset, group: RateGroup) -> str:
    """Parameters; a projector's by the numbers of a token, which only a built tokenizer tells."""
    if group.what != "projector":
        return f"{group.parameters:,} parameters"
    each = shape_of(preset).hidden
    return (
        f"{group.parameters - _NUMBERS * each:,} parameters and {each:,} for each number of a token"
    )
