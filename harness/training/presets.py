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


def _controlled(name: str, recipe: str, summary: str) -> Preset:
    """A baseline under the budget that all of them share."""
    return Preset(
        recipe=f"medbench.baselines.{recipe}",
        config=_PACKAGE / "baselines" / "recipes" / f"{name.replace('-', '_')}.yaml",
        summary=f"{summary}, under the controlled track's common budget",
    )


PRESETS: dict[str, Preset] = {
    "meditok-tiny": Preset(
        recipe="medbench.tokenizers.meditok_recipe:build",
        config=_PACKAGE / "tokenizers" / "recipes" / "meditok_tiny.yaml",
        summary="MedITok, 2 M parameters, reconstruction on procedural images (2 cores, 1 hour)",
    ),
    "vqgan-tiny": _controlled("vqgan-tiny", "recipe_vq:build_vqgan", "VQGAN"),
    "emu3-vq-tiny": _controlled("emu3-vq-tiny", "recipe_vq:build_emu3", "Emu3's tokenizer"),
    "tokenflow-tiny": _controlled("tokenflow-tiny", "recipe_tokenflow:build", "TokenFlow"),
    "unitok-tiny": _controlled("unitok-tiny", "recipe_unitok:build", "UniTok"),
    "pumit-tiny": _controlled("pumit-tiny", "recipe_pumit:build", "PUMIT"),
    "medvae-tiny": _controlled("medvae-tiny", "recipe_medvae:build", "MedVAE"),
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none; near names are suggested.
    """
    if name not in PRESETS:
        raise unknown("training preset", name, PRESETS, listing=", ".join(PRESETS))
    return PRESETS[name]


EXTENDS = "extends"
"""The term of a configuration that names the file it is a change of."""


def read_config(path: Path) -> Mapping[str, Any]:
    """A preset's YAML file.

    With `extends: FILE` (relative to the file that says so) it is a change of that one: mappings
    are merged term by term, anything else is replaced.

    Raises:
        UsageError: a file is absent, not YAML or extends itself, or `settings` are missing.
    """
    config = _merged(path, ())
    if not isinstance(config.get("settings"), dict):
        message = f"{path} must be a YAML mapping that holds `settings`"
        raise UsageError(message)
    return config


def _merged(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    """The file at `path` with what it extends; `before` are the files that led to it."""
    trail = (*before, path.resolve())
    route = " -> ".join(map(str, trail))
    if trail[-1] in before:
        message = f"training configurations extend each other in a circle: {route}"
        raise UsageError(message)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        message = f"cannot read the training configuration {path}: {error}"
        if before:
            message += f" (extended along {route})"
        raise UsageError(message) from error
    if not isinstance(config, dict):
        message = f"{path} must be a YAML mapping that holds `settings`"
        raise UsageError(message)
    base = config.pop(EXTENDS, None)
    if base is None:
        return config
    if not isinstance(base, str) or not base:
        message = f"{path}: {EXTENDS} must be the name of a file, not {base!r}"
        raise UsageError(message)
    return _overlaid(_merged(path.parent / base, trail), config)


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the terms of `above`; mappings that both have are overlaid in turn."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _overlaid(old, value)
        merged[name] = value
    return merged
