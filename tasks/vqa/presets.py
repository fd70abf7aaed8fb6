"""How a language model is taught to answer: the published recipe, and two that run anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ...harness.errors import UsageError

TEMPERATURE = 0.2
"""Of the secondary rows; the published model answers at it."""
SEEDS = (0, 1, 2)
"""Of the secondary rows."""

Trained = Literal["projector", "all", "lora"]


@dataclass(frozen=True, slots=True)
class SmallLanguage:
    """A language model of Mistral's architecture that is trained from scratch.

    Attributes:
        hidden: width.
        layers: blocks.
        heads: of attention.
        key_value_heads: shared by the heads in groups.
        intermediate: width of the gated MLP.
        vocabulary: entries of the byte-level BPE that is trained on the training texts.
    """

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class PretrainedLanguage:
    """A published language model, read from local files only.

    Attributes:
        folder: below the weights root.
        source: where its owners distribute it.
        licence: of its weights.
    """

    folder: str
    source: str
    licence: str


@dataclass(frozen=True, slots=True)
class LoraTerms:
    """Low-rank adapters on all linear layers of the language model's blocks."""

    rank: int
    alpha: int
    dropout: float


@dataclass(frozen=True, slots=True)
class StageTerms:
    """One training.

    Attributes:
        trained: `projector`, `all` (with the language model), or `lora` (adapters and projector).
        batch: images (or pairs, where each image is asked one question at a time) per step.
        rate: of the projector where it is trained alone, else of the language model.
        steps: number of steps; 0 where `epochs` says it.
        epochs: over all images or pairs.
        projector_rate: of the projector where the language model is trained too; None: `rate`.
        warmup: share of the steps.
        precision: of the forward passes.
        pass_units: of a batch that go through the model at once, on each process; their mean
            gradient makes the step. 0: the whole batch.
        recompute: whether activations are computed again in the backward pass, for less memory.
    """

    trained: Trained
    batch: int
    rate: float
    steps: int = 0
    epochs: int = 0
    projector_rate: float | None = None
    warmup: float = 0.03
    precision: Literal["fp32", "bf16"] = "fp32"
    pass_units: int = 0
    recompute: bool = False


@dataclass(frozen=True, slots=True)
class Preset:
    """A complete recipe: everything but the tokenizer and the data.

    Attributes:
        name: as `--preset` takes it.
        ranked: whether its rows are; a smoke test shows that everything runs, and no more.
        language: the language model.
        template: name of the prompt; see `prompt`.
        captions: part of the data set, or id of another one, whose captions stage 1 learns.
        pairs: the same for the questions of stage 2.
        images: of each group of a part that are read; None for all.
        scored: images of each group whose questions are asked where the user sets no `--limit`;
            None for all.
        side: image tokens are averaged to side x side; 0 leaves them.
        standardise: whether features are standardised by the training images' mean and deviation.
        questions: about one image in one sequence, unseen by each other; 1: pairs.
        text: the language model's own training on text; None for a published one.
        projector: stage 1.
        tuning: stage 2.
        lora: of stage 2.
        new_tokens: longest answer.
        samples: seeds of the answers at temperature 0.2.
        prompts: questions per batch of answers; fixed, because rounding depends on it.
    """

    name: str
    ranked: bool
    language: SmallLanguage | PretrainedLanguage
    template: str
    captions: str
    pairs: str
    images: int | None
    side: int
    standardise: bool
    questions: int
    text: StageTerms | None
    projector: StageTerms
    tuning: StageTerms
    lora: LoraTerms | None = None
    new_tokens: int = 24
    samples: tuple[int, ...] = SEEDS
    prompts: int = 64
    scored: int | None = None

    @property
    def pretrained(self) -> PretrainedLanguage | None:
        """The published language model, where it is one."""
        return self.language if isinstance(self.language, PretrainedLanguage) else None


def stated_recipe(preset: Preset) -> dict[str, Any]:
    """The preset by name and terms of its teaching, as definitions and model folders hold it."""
    apart = {"name", "ranked", "scored"}
    recipe = {k: v for k, v in asdict(preset).items() if k not in apart}
    # As JSON has it: tuples are lists there.
    return {"preset": preset.name, "recipe": recipe | {"samples": list(preset.samples)}}


_TINY = Preset(
    name="tiny",
    ranked=True,
    language=SmallLanguage(
        hidden=96, layers=3, heads=4, key_value_heads=2, intermediate=264, vocabulary=1024
    ),
    template="short",
    captions="train",
    pairs="train",
    images=150,
    side=4,
    standardise=True,
    questions=6,
    text=StageTerms("all", batch=8, rate=3e-3, steps=300),
    projector=StageTerms("projector", batch=8, rate=3e-3, steps=60),
    tuning=StageTerms("all", batch=8, rate=2e-3, steps=900),
    scored=24,
)

_FRUGAL: Any = {"precision": "bf16", "pass_units": 8, "recompute": True}
"""So that a model of seven billion parameters can learn at all."""

_PAPER = Preset(
    name="paper",
    ranked=True,
    language=PretrainedLanguage(
        folder="llava-med-v1.5-mistral-7b",
        source="https://huggingface.co/microsoft/llava-med-v1.5-mistral-7b",
        licence="research use only (LLaVA-Med)",
    ),
    template="vicuna_v1",
    captions="pubmedvision@alignment",
    pairs="pubmedvision@instruction",
    images=None,
    side=0,
    standardise=False,
    questions=1,
    text=None,
    projector=StageTerms("projector", batch=256, rate=1e-3, epochs=1, **_FRUGAL),
    tuning=StageTerms("lora", batch=256, rate=2e-4, projector_rate=2e-5, epochs=2, **_FRUGAL),
    lora=LoraTerms(rank=128, alpha=256, dropout=0.05),
    new_tokens=1024,
    prompts=16,
)

PRESETS: dict[str, Preset] = {
    "paper": _PAPER,
    "tiny": _TINY,
    "smoke": replace(
        _TINY,
        name="smoke",
        ranked=False,
        language=SmallLanguage(
            hidden=64, layers=2, heads=4, key_value_heads=2, intermediate=128, vocabulary=768
        ),
        images=8,
        side=4,
        text=StageTerms("all", batch=8, rate=3e-3, steps=40),
        projector=StageTerms("projector", batch=8, rate=3e-3, steps=10),
        tuning=StageTerms("all", batch=8, rate=2e-3, steps=40),
        new_tokens=8,
        samples=(0,),
        scored=4,
    ),
}

DEFAULT = "tiny"


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        message = f"vqa has no preset {name!r}; presets: {', '.join(PRESETS)}"
        raise UsageError(message)
    return PRESETS[name]


def scored_images(options: Mapping[str, str], limit: int | None) -> int | None:
    """Images of each group whose questions are asked: the user's limit, or the preset's.

    Given answers and models are asked about all images where there is no limit.
    """
    if limit is not None or "answers" in options or "model" in options:
        return limit
    return find_preset(options.get("preset", DEFAULT)).scored
