"""The training presets: a torch-free table of what `medbench train` can train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError
from ..registry import unknown

_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Preset:
    """One thing that can be trained.

    Attributes:
        recipe: `package.module:attribute` of a factory
            `(config, settings, work) -> Recipe`.
        config: YAML file with `settings` (fields of `TrainingSettings`) and what the recipe needs.
        summary: one line for listings.
    """

    recipe: str
    config: Path
    summary: str


PRESETS: dict[str, Preset] = {
    "meditok-tiny": Preset(
        recipe="medbench.tokenizers.meditok_recipe:build",
        config=_PACKAGE / "tokenizers" / "recipes" / "meditok_tiny.yaml",
        summary="MedITok, 2 M parameters, reconstruction on procedural images (2 cores, 1 hour)",
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none; near names are suggested.
    """
    if name not in PRESETS:
        raise unknown("training preset", name, PRESETS, listing=", ".join(PRESETS))
    return PRESETS[name]


def read_config(path: Path) -> Mapping[str, Any]:
    """A preset's YAML file.

    Raises:
        UsageError: the file is absent, not YAML, or lacks `settings`.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        message = f"cannot read the training configuration {path}: {error}"
        raise UsageError(message) from error
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        message = f"{path} must be a YAML mapping that holds `settings`"
        raise UsageError(message)
    return config
