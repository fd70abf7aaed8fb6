"""The card of a dataset: what a reader must know before trusting a number on it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..documents import load_yaml
from ..errors import UsageError
from ..vocabulary import Modality

Access = Literal["embedded", "local", "open", "registration", "application", "credentialed"]
"""Nothing to get; the user's own files; direct download; after an account or a form; after a
decision of the owners; after training and a signed agreement."""

Role = Literal["recon", "probe", "synthesis", "vqa", "training", "captions", "collection"]
"""What the set is used for, here or in the papers that medbench reproduces."""

FOLDER = Path(__file__).parent / "cards"


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Download(_Closed):
    """One file that the owners distribute."""

    url: str
    filename: str
    size_bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None


class Reading(_Closed):
    """How the owners' files become images: globs and patterns on paths below one folder."""

    folder: str
    """Below the data root."""
    kind: Literal["images", "dicom", "nifti"]
    include: list[str]
    """Globs on the relative path; `**` crosses directories."""
    exclude: list[str] = Field(default_factory=list)
    """Globs of masks, thumbnails and parts that do not belong to the set."""
    windowing: str | None = None
    """`LOW..HIGH` in Hounsfield units, `LOW..HIGH+BIAS` for 16-bit PNG; None: the reader's own."""
    label: str | None = None
    """Regular expression with a group `label`, searched in the relative path."""
    patient: str | None = None
    """Regular expression with a group `patient`, searched in the relative path."""
    split: str | None = None
    """Regular expression with a group `split`, searched in the relative path."""

    @field_validator("label", "patient", "split")
    @classmethod
    def _names_its_group(cls, value: str | None, info) -> str | None:
        if value is None:
            return None
        try:
            groups = re.compile(value).groupindex
        except (re.error, RecursionError, OverflowError) as error:
            message = f"{value!r} is no regular expression ({error})"
            raise ValueError(message) from error
        if info.field_name not in groups:
            message = f"the expression {value!r} has no group named {info.field_name!r}"
            raise ValueError(message)
        return value


class Listed(_Closed):
    """A row of a published table that names this set."""

    table: str
    """For instance `MedITok S7`."""
    name: str
    """As printed there."""
    count: int | None = None
    """Images (or questions, or pairs) as printed; None where nothing is printed."""
    note: str | None = None
    """What is inferred, or contradicts something else."""


class Card(_Closed):
    """Facts of one dataset; YAML files beside the loaders, or made by a generic reader."""

    id: str
    title: str
    source: str
    """Where the owner distributes it."""
    licence: str
    """`unknown` where the owner states none."""
    access: Access = "local"
    citation: str = ""
    roles: list[Role] = Field(default_factory=list)
    modalities: list[Modality] = Field(default_factory=list)
    native_size: str = "unknown"
    bit_depth: str = "unknown"
    splits: dict[str, int | None] = Field(default_factory=dict)
    """Images per split (questions, or rows, of a question set); None where unknown."""
    size_bytes: int | None = None
    """Of the download."""
    downloads: list[Download] = Field(default_factory=list)
    """Files that can be fetched without an account."""
    reading: Reading | None = None
    """None: a loader of its own, or facts only."""
    layout: str
    """`verified (how)` or `unverified`."""
    patient_key: str | None = None
    how_to_get: str
    """Steps in order, one a line."""
    listed: list[Listed] = Field(default_factory=list)
    derived_from: list[str] = Field(default_factory=list)
    """Names of the sets whose images this one contains."""
    aliases: list[str] = Field(default_factory=list)
    """Other names of the same set, as papers print them."""
    known_problems: list[str] = Field(default_factory=list)
    macro: bool = True
    """Whether a macro average over its modalities means anything."""
    pixels: Literal["publish", "local"] = "local"
    """Whether the licence lets galleries be published."""

    @field_validator("layout")
    @classmethod
    def _says_how(cls, value: str) -> str:
        if value != "unverified" and not re.fullmatch(r"verified \(.+\)", value, re.DOTALL):
            message = f"layout is {value!r}; write 'verified (how)' or 'unverified'"
            raise ValueError(message)
        return value


def read_card(path: Path) -> Card:
    """Load and check a card file.

    Raises:
        UsageError: not YAML, a field that no card has, or a wrong value; names file and field.
    """
    try:
        return Card.model_validate(load_yaml(path))
    except (OSError, ValueError) as error:
        message = f"{path}: not a valid dataset card: {error}"
        raise UsageError(message) from error


@cache
def packaged_card(name: str) -> Card:
    """A card that ships with medbench."""
    return read_card(FOLDER / f"{name}.yaml")


@cache
def packaged_cards() -> dict[str, Card]:
    """All cards that ship with medbench, by id."""
    return {path.stem: packaged_card(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}
