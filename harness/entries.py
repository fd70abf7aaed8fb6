"""What a catalogue says of a tokenizer before any of its code is imported.

A catalogue is a module without heavy imports that holds entries; the registry reads
catalogues, so that listing, planning and answering from records need no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .protocol import Kind


@dataclass(frozen=True, slots=True)
class HubFile:
    """One published file on the Hugging Face hub."""

    repository: str
    filename: str
    revision: str = "main"
    sha256: str | None = None
    """Pinned where known; otherwise recorded on first use."""
    licence: str = "unknown"
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A weights file that ships inside the package."""

    path: Path
    sha256: str
    licence: str = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class ManualFile:
    """Published weights that no command fetches: the user downloads them and names the path."""

    place: str
    """Where they are published, in words."""
    licence: str = "unknown"


Weights = HubFile | PackagedFile | ManualFile


@dataclass(frozen=True, slots=True)
class Variant:
    """One named configuration of a tokenizer, with the weights that belong to it."""

    summary: str
    config: Mapping[str, Any] | None = None
    """In the upstream constructor's own terms."""
    weights: Weights | None = None
    bits_per_image: float | None = None
    """Nominal, at the benchmark's resolution."""
    companions: tuple[HubFile, ...] = ()
    """Files that must lie beside the weights (a hub model's `config.json`); fetched with them."""


@dataclass(frozen=True, slots=True)
class TokenizerEntry:
    """A registered tokenizer.

    `target` names a factory: `factory(*, variant, config, weights, device) -> Tokenizer`, where
    `config` is a mapping in upstream's terms or None (the variant's own), and `weights` a path,
    a state dict in upstream's keys, or None.
    """

    name: str
    target: str
    """`package.module:attribute`."""
    kind: Kind
    default_variant: str
    summary: str
    variants: Mapping[str, Variant] = field(default_factory=dict)
    free_variant: str | None = None
    """Says what a variant outside `variants` may be (a codec's `BITS or TOKENIZER`)."""
    aliases: tuple[str, ...] = ()
    wrappers: tuple[str, ...] = ()
    """Keys of its checkpoints under which its authors look for the weights first."""
    card: Path | None = None
    """Its model card (`harness.model_card`)."""
    readings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Networks that share keys and shapes, so that a file may be read as any of them: changes to
    the configuration, by what they mean. `weights verify` says which one a file fits."""
    origin: str = "medbench"
    """The distribution that registered it."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a family makes of an argument."""

    entry: TokenizerEntry
    weights: Path | None = None
    """The user's own file, where the argument is a path."""


@dataclass(frozen=True, slots=True)
class Family:
    """Tokenizers by the name that another library or hub gives them: `prefix:ARGUMENT`."""

    prefix: str
    target: str
    """`package.module:attribute` of `resolve(argument, revision) -> Resolved`, without torch."""
    kind: Kind
    summary: str
