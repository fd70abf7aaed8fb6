"""Training presets and recipes by name, without importing any training code."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ..documents import load_yaml
from ..errors import UsageError
from ..registry import unknown
from .run_plan import SUFFIXES, Stage, read_stages

_CATALOGUES = (
    "medbench.tokenizers.training_catalogue",
    "medbench.baselines.training_catalogue",
    "medbench.harness.training.teachers.catalogue",
)
"""Torch-free modules with `RECIPES` and `presets()`."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One thing that can be trained.

    Attributes:
        config: YAML file.
        summary: one line for listings.
        change: laid over the file.
    """

    config: Path
    summary: str
    change: Mapping[str, Any] = field(default_factory=dict)

    def stages(self, overrides: Sequence[str] = ()) -> tuple[Stage, ...]:
        """What is trained, in order; `overrides` as `--set` takes them."""
        return read_stages(self.config, self.change, overrides)

    def rows(self, path: Path) -> dict[str, Preset]:
        """Changes of this preset, from a file with one line for each: `summary` and `change`."""
        rows = load_yaml(path)
        return {
            str(name): Preset(self.config, row["summary"], row.get("change") or {})
            for name, row in rows.items()
        }


@cache
def presets() -> dict[str, Preset]:
    """All presets by name."""
    return {
        name: preset
        for catalogue in _CATALOGUES
        for name, preset in importlib.import_module(catalogue).presets().items()
    }


@cache
def recipes() -> dict[str, str]:
    """Modules by the name that a configuration gives under `recipe`.

    Each has `build(config, settings, work) -> Recipe`; those of tokenizers also
    `make(config, *, seed) -> Trainable`, from which a dry run counts parameters, and may have
    `DISCRIMINATORS`, kinds by name; others may have `problems(config)`: what is not here.
    """
    return {
        name: module
        for catalogue in _CATALOGUES
        for name, module in importlib.import_module(catalogue).RECIPES.items()
    }


def find_preset(reference: str) -> Preset:
    """The preset of that name, or the configuration file at that path.

    Raises:
        UsageError: there is none; near names are suggested.
    """
    if reference.endswith(SUFFIXES):
        path = Path(reference)
        if not path.is_file():
            message = f"{reference}: there is no such configuration file"
            raise UsageError(message)
        return Preset(path, f"the configuration {path.name}")
    if reference not in presets():
        raise unknown("training preset", reference, presets(), listing="medbench train --list")
    return presets()[reference]


def recipe_module(name: str) -> Any:
    """The module of a recipe: a registered name, or `package.module` of a third party's.

    Raises:
        UsageError: there is no such recipe, or its module cannot be imported.
    """
    target = recipes().get(name)
    if target is None and "." not in name:
        raise unknown("recipe", name, recipes(), listing=", ".join(sorted(recipes())))
    try:
        module = importlib.import_module(target or name)
    except ImportError as error:
        message = f"the recipe {name!r} cannot be imported: {error}"
        raise UsageError(message) from error
    if not callable(getattr(module, "build", None)):
        message = f"{name} is no recipe: it has no build(config, settings, work)"
        raise UsageError(message)
    return module
