"""How UniTok is trained: as MedITok, with projections that see all positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..harness.training.reconstruction import ReconstructionRecipe
from ..harness.training.settings import TrainingSettings
from ..tokenizers.meditok_config import MedITokConfig
from ..tokenizers.meditok_recipe import TrainableMedITok
from .recipe_base import recipe_of


def build(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of a UniTok; see `recipe_base.recipe_of`."""
    sizes = MedITokConfig.from_mapping(config["model"])
    trainable = TrainableMedITok(sizes, seed=settings.seed, causal=False)
    return recipe_of(trainable, config, settings, work)
