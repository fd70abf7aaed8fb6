"""Presets of the task: how large the generator is, how long it learns, how much it samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ...harness.documents import load_yaml
from ...harness.errors import UsageError
from ...harness.files import hash_value
from ...harness.registry import unknown
from ...harness.training.config_terms import read_fields
from ...harness.training.settings import OptimiserSettings, Precision, TrainingSettings
from ..classifier_recipe import ClassifierRecipe
from .generator.config import read_config
from .generator.sampling import Sampling

DEFAULT = "tiny"
_FILE = Path(__file__).with_name("presets.yaml")
_NOT_OF_TRAINING = frozenset(
    {"samples", "seeds", "diversity_images", "sampling", "classifier_steps", "ranked", "summary"}
)


@dataclass(frozen=True, slots=True)
class Preset:
    """One way to run the task.

    Attributes:
        summary: one line for listings.
        network: the generator's terms that do not follow from tokenizer and data.
        optimiser: of the generator.
        batch_size: images per step; or
        step_positions: of a step's images, together: as many images as have so many, at least one,
            so that a step costs alike for tokenizers of many positions and of few.
        epochs: over the training images; or
        steps: of the training.
        precision: of the training.
        step_logits: that a step computes at most: its loss is then taken of as many of an image's
            positions as give no more, at least one, drawn at random; None: of all.
        context_noise: mean share of positions at which another image's codes are learnt from.
        code_vectors: how codes' vectors start: at random, or from what codes are seen beside.
        train_images: per class at most; None: all.
        samples: per class and sampling seed.
        seeds: sampling seeds of the one trained generator.
        diversity_images: of the samples per class, whose pairs give the diversity.
        sampling: how codes are chosen.
        classifier_steps: of the network that names samples.
        ranked: whether its rows take part in ranks.
    """

    summary: str
    network: dict[str, Any]
    optimiser: OptimiserSettings
    batch_size: int | None = None
    step_positions: int | None = None
    epochs: float | None = None
    steps: int | None = None
    precision: Precision = "fp32"
    step_logits: int | None = None
    context_noise: float = 0.0
    code_vectors: Literal["random", "context"] = "random"
    train_images: int | None = None
    samples: int = 500
    seeds: int = 5
    diversity_images: int = 100
    sampling: Sampling = field(default_factory=Sampling)
    classifier_steps: int = 300
    ranked: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UsageError: see the message.
        """
        if (self.epochs is None) == (self.steps is None):
            message = "a synthesis preset says either `epochs` or `steps`"
            raise UsageError(message)
        if (self.batch_size is None) == (self.step_positions is None):
            message = "a synthesis preset says either `batch_size` or `step_positions`"
            raise UsageError(message)
        counts = (self.batch_size, self.step_positions, self.step_logits)
        few = min(self.seeds, self.classifier_steps, *(n for n in counts if n is not None))
        if few < 1 or min(self.samples, self.diversity_images) < 2:
            message = (
                "a synthesis preset needs at least 2 samples and diversity_images, and 1 of "
                f"everything else: {self}"
            )
            raise UsageError(message)
        if not 0 <= self.context_noise <= 0.5:
            message = (
                "context_noise is a mean share of 0 to 0.5 (shares are drawn from 0 to twice as "
                f"much), not {self.context_noise}"
            )
            raise UsageError(message)
        # What cannot work is told now, not after encoding.
        config = read_config({"vocab_size": 1, "block_size": 1, "num_classes": 1, **self.network})
        if self.sampling.guided and not config.class_dropout_prob:
            message = (
                f"cfg_scale {self.sampling.cfg_scale:g} needs a network that also learns without "
                "class: set class_dropout_prob above 0, or cfg_scale to 1"
            )
            raise UsageError(message)
        if self.steps is not None:
            self.settings(images=0, batch_size=1)

    def images_per_step(self, positions: int) -> int:
        """Images of so many positions that one step learns from."""
        if self.step_positions is None:
            assert self.batch_size is not None, "one of the two is given"
            return self.batch_size
        return max(1, self.step_positions // positions)

    def positions_per_image(self, logits: int, batch_size: int) -> int:
        """Positions of so many logits each that the loss is taken of; 0: all."""
        if self.step_logits is None:
            return 0
        return max(1, self.step_logits // (batch_size * logits))

    def settings(self, images: int, batch_size: int) -> TrainingSettings:
        """The training's settings for so many images, so many at a step.

        Raises:
            UsageError: so few images make fewer steps than the warm-up has.
        """
        steps = self.steps
        if self.epochs is not None:
            steps = max(1, round(self.epochs * max(1, images // batch_size)))
            if steps <= self.optimiser.warmup_steps:
                message = (
                    f"{self.epochs:g} epochs of {images} training images, {batch_size} at a step, "
                    f"are {steps} steps, and the warm-up alone has {self.optimiser.warmup_steps:g}."
                    " Give more images (--limit), or a --preset FILE with more epochs or fewer "
                    "`optimiser: {warmup_steps: ...}`."
                )
                raise UsageError(message)
        assert steps is not None, "one of the two is given"
        return TrainingSettings(
            steps=steps,
            optimiser=self.optimiser,
            precision=self.precision,
            log_every=max(1, min(20, steps // 5)),
        )

    @property
    def classifier(self) -> ClassifierRecipe:
        """Of the network that names samples."""
        return ClassifierRecipe(self.classifier_steps, batch=32, side=64)

    def training_terms(self) -> dict[str, Any]:
        """What the trained generator depends on, JSON-able."""
        terms = {k: v for k, v in asdict(self).items() if k not in _NOT_OF_TRAINING}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in terms.items()}


@cache
def presets() -> dict[str, Preset]:
    """All presets that ship with medbench, by name."""
    raw = load_yaml(_FILE)
    return {name: _resolved(name, raw, where=f"preset {name}") for name in raw}


def find_preset(reference: str) -> Preset:
    """The preset of a name, or of a YAML file with the same terms (it may `extends:` a name).

    Raises:
        UsageError: no such preset or file, or terms that are wrong.
    """
    if not reference.endswith((".yaml", ".yml")):
        if reference not in presets():
            known = presets()
            raise unknown("synthesis preset", reference, known, listing=", ".join(known))
        return presets()[reference]
    try:
        own = load_yaml(Path(reference))
        raw = load_yaml(_FILE)
    except (OSError, ValueError) as error:
        message = f"cannot read the synthesis preset {reference}: {error}"
        raise UsageError(message) from error
    return _resolved(reference, {**raw, reference: own}, where=reference)


def preset_identity(reference: str) -> str:
    """The name of a preset, or a file's terms by their hash: part of a record's identity."""
    if reference in presets():
        return reference
    return f"file:{hash_value(asdict(find_preset(reference)))[:16]}"


def _resolved(name: str, raw: Mapping[str, Any], *, where: str) -> Preset:
    return read_fields(Preset, {"summary": "", **_merged(name, raw, ())}, where)


def _merged(name: str, raw: Mapping[str, Any], before: tuple[str, ...]) -> dict[str, Any]:
    own = raw.get(name)
    if not isinstance(own, Mapping) or name in before:
        route = " -> ".join((*before, name))
        message = f"synthesis preset {route} must hold terms by name, and extend no circle"
        raise UsageError(message)
    terms = dict(own)
    base = terms.pop("extends", None)
    if base is None:
        return terms
    below = _merged(str(base), raw, (*before, name))
    for key, value in terms.items():
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        below[key] = {**below[key], **value} if both else value
    return below
