"""How UniTok is trained: as MedITok, with projections that see all positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..tokenizers import meditok_recipe
from ..tokenizers.meditok_recipe import DISCRIMINATORS, TrainableMedITok


def make(config: Mapping[str, Any], *, seed: int) -> TrainableMedITok:
    """The network of a configuration's `model` (upstream's terms), from scratch."""
    return meditok_recipe.make(config, seed=seed, causal=False)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    trainable = make(config, seed=settings.seed)
    return build_tokenizer_recipe(trainable, config, settings, work, discriminators=DISCRIMINATORS)
