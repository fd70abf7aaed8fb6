"""The card of a dataset: what a reader must know before trusting a number on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ..vocabulary import Modality


class Card(BaseModel):
    """Facts of one dataset; YAML files beside the loaders, or made by a generic reader."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    title: str
    source: str
    """Where the owner distributes it."""
    licence: str
    citation: str = ""
    modalities: list[Modality] = Field(default_factory=list)
    native_size: str = "unknown"
    bit_depth: str = "unknown"
    splits: dict[str, int | None] = Field(default_factory=dict)
    """Images per split; None where unknown."""
    layout: str
    """`verified (how)` or `unverified`."""
    patient_key: str | None = None
    how_to_get: str
    known_problems: list[str] = Field(default_factory=list)
    macro: bool = True
    """Whether a macro average over its modalities means anything."""
    pixels: Literal["publish", "local"] = "local"
    """Whether the licence lets galleries be published."""


def read_card(path: Path) -> Card:
    """Load and check a card file."""
    return Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def packaged_card(name: str) -> Card:
    """A card that ships with medbench."""
    return read_card(Path(__file__).parent / "cards" / f"{name}.yaml")
