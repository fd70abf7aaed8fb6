"""Trained generators: kept under the cache, taken up where training stopped, or given."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness import ranks
from ...harness.documents import load_json
from ...harness.errors import MissingPrerequisite, UsageError
from ...harness.files import canonical_json, hash_value
from ...harness.locations import cache_root
from ...harness.sealed import check_seal, is_whole, write_sealed
from .presets import Preset
from .tokenizer_key import TokenizerKey

if TYPE_CHECKING:
    import numpy as np

    from .generator.network import Generator

logger = logging.getLogger(__name__)

"""Of the cache."""
FACTS = "generator.json"
WEIGHTS = "weights.safetensors"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class GeneratorFacts:
    """What lies beside a generator's weights.

    Attributes:
        config: the network's terms.
        classes: names by number.
        tokenizer: whose codes it makes.
        training: the preset's terms.
        data: fingerprint of the training images.
    """

    config: dict[str, Any]
    classes: tuple[str, ...]
    tokenizer: dict[str, Any]
    training: dict[str, Any]
    data: str


def read_facts(folder: Path) -> GeneratorFacts:
    """The facts of a kept generator.

    Raises:
        MissingPrerequisite: there is no generator at that place.
        UsageError: its description is damaged.
    """
    path = folder / FACTS
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        message = (
            f"--generator {folder}: no generator there ({FACTS} and {WEIGHTS} are wanted). Give "
            f"the folder of one that medbench trained; the log of such a run names it."
        )
        raise MissingPrerequisite(message)
    check_seal(path, "the generator's description")
    try:
        content = load_json(path)
        return GeneratorFacts(**{**content, "classes": tuple(content["classes"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} does not describe a generator ({error!r})"
        raise UsageError(message) from error


def check_tokenizer(facts: GeneratorFacts, key: TokenizerKey, *, where: str) -> None:
    """Refuse a generator of another tokenizer's codes.

    Raises:
        UsageError: says whose it is and whose it should be.
    """
    wanted = key.terms()
    different = [name for name, value in wanted.items() if facts.tokenizer.get(name) != value]
    if different:
        told = "; ".join(
            f"{n}: {facts.tokenizer.get(n)} there, {wanted[n]} here" for n in different
        )
        message = (
            f"the generator {where} makes the codes of another tokenizer ({told}). Its codes mean "
            "nothing to this one: train one without --generator."
        )
        raise UsageError(message)


def load_kept(folder: Path, *, device: str) -> Generator:
    """The network of a kept generator."""
    from .generator.load import load_generator

    facts = read_facts(folder)
    return load_generator(config=facts.config, weights=folder / WEIGHTS, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a generator learns from.

    Attributes:
        indices: unsigned integers (N, K, L).
        classes: int64 (N,).
        names: of the classes, by number.
        fingerprint: of the images.
    """

    indices: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    fingerprint: str


def trained_generator(
    key: TokenizerKey, preset: Preset, data: TrainingData, *, device: str
) -> Path:
    """The folder of the generator for a tokenizer, a preset and data: kept, or trained now.

    Raises:
        Interrupted: SIGTERM came; the next run goes on from the checkpoint.
        NonFiniteLoss: the training broke down.
    """
    facts = GeneratorFacts(
        config={**preset.network, **key.network_terms(len(data.names))},
        classes=data.names,
        tokenizer=key.terms(),
        training=preset.training_terms(),
        data=data.fingerprint,
    )
    folder = cache_root() / "generators" / hash_value([_VERSION, asdict(facts)])[:32]

    def kept() -> bool:
        if not is_whole(folder / FACTS):
            write_sealed(folder / FACTS, canonical_json(asdict(facts)).encode())
        return is_whole(folder / WEIGHTS)

    if ranks.first(kept):
        logger.info("the generator is %s", folder)
        return folder
    _train(folder, facts, preset, data, device)
    logger.info("the generator is kept as %s (use it again with --generator)", folder)
    return folder


def _train(
    folder: Path, facts: GeneratorFacts, preset: Preset, data: TrainingData, device: str
) -> None:
    from ...harness.training.checkpoint import export_weights
    from ...harness.training.kept import train_once
    from ...harness.training.loop import Trainer
    from .generator.config import read_config
    from .generator.load import new_generator
    from .recipe import GeneratorRecipe

    settings = preset.settings(len(data.indices))
    network = new_generator(read_config(facts.config), seed=settings.seed)
    recipe = GeneratorRecipe(
        network,
        data.indices,
        data.classes,
        batch_size=preset.batch_size,
        positions=preset.positions,
        seed=settings.seed,
    )
    config: Mapping[str, Any] = {**asdict(facts), "settings": asdict(settings)}
    count = sum(parameter.numel() for parameter in network.parameters())
    logger.info(
        "training a generator of %.1f M parameters on %d images, %d steps",
        count / 1e6,
        len(data.indices),
        settings.steps,
    )

    def build() -> Trainer:
        return Trainer(recipe, settings, folder, config=config, device=device)

    train_once(folder / WEIGHTS, build, export_weights, what=f"the generator {folder.name}")
