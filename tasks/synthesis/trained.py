"""Trained generators: kept under the cache and taken up where training stopped."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...harness import ranks
from ...harness.files import canonical_json, hash_value, sha256_bytes
from ...harness.locations import cache_root
from ...harness.sealed import is_whole, write_sealed
from .generator_facts import FACTS, WEIGHTS, GeneratorFacts
from .presets import Preset
from .tokenizer_key import TokenizerKey

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

_VERSION = 2


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """What a generator learns from.

    Attributes:
        indices: unsigned integers (N, K, L).
        classes: int64 (N,).
        names: of the classes, by number.
        fingerprint: of the images and their classes.
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
        # The same weights decode to other codes once the code behind them is another.
        codes=sha256_bytes(data.indices.data),
        ranked=preset.ranked,
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
    from .generator.code_vectors import start_from_context
    from .generator.config import read_config
    from .generator.load import new_generator
    from .recipe import GeneratorRecipe

    terms = read_config(facts.config)
    batch_size = preset.images_per_step(terms.block_size)
    settings = preset.settings(len(data.indices), batch_size)
    network = new_generator(terms, seed=settings.seed)
    if preset.code_vectors == "context":
        start_from_context(network, data.indices, data.classes, seed=settings.seed)
    recipe = GeneratorRecipe(
        network,
        data.indices,
        data.classes,
        batch_size=batch_size,
        positions=preset.positions_per_image(terms.vocab_size, batch_size),
        context_noise=preset.context_noise,
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
