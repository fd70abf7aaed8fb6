"""The card of a tokenizer: where it comes from, on what terms, and what to watch out for.

One YAML file beside each catalogue and model; adapters take what records repeat from here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .documents import load_yaml
from .errors import UsageError
from .vocabulary import Modality

_DISCLOSURE = re.compile(
    r"none|clean by declaration|not disclosed|overlap declared: \S.*", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What `TokenizerInfo` says of a variant's training and licences, under the same names."""

    training_data: str
    weights_licence: str
    code_licence: str
    source: str
    modalities: tuple[str, ...] = ()


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Closed):
    """The published implementation that the adapter was checked against."""

    url: str
    commit: str
    licence: str
    """`none is given` where the repository has no licence file."""


class WeightsFacts(_Closed):
    """What is declared of the weights of one variant."""

    place: str
    """Repository and file, in words."""
    licence: str
    training_data: str
    """`none`, `clean by declaration`, `overlap declared: …` or `not disclosed`: whether the sets
    that medbench evaluates on are among the training data, as its authors declare it."""
    training: str
    """What it was trained on, and how that is known."""
    code_licence: str | None = None
    """Where it differs from the upstream code's."""
    declaration: str | None = None
    """File that lists the training corpus, relative to the card."""

    @field_validator("training_data")
    @classmethod
    def _in_vocabulary(cls, value: str) -> str:
        if not _DISCLOSURE.fullmatch(value):
            message = (
                f"training_data is {value!r}; write none, clean by declaration, not disclosed, "
                "or overlap declared: WHICH"
            )
            raise ValueError(message)
        return value


class ModelCard(_Closed):
    """Facts of one tokenizer."""

    name: str
    """Registered name; the file's stem."""
    also: list[str] = Field(default_factory=list)
    """Further registered names that read the same weights in another way."""
    title: str
    paper: str
    """Authors, title, venue and year."""
    paper_url: str
    code: Code
    modalities: list[Modality] = Field(default_factory=list)
    """Those that its authors declare; empty: all."""
    coverage: str
    """What kind of images it was made for, in words."""
    intensity: str
    """How intensities and colour go in and come out."""
    upstream_preprocessing: str
    """What the authors' own scripts do where it differs from the benchmark."""
    traps: list[str]
    """What a wrapper gets wrong without noticing."""
    variants: dict[str, WeightsFacts]

    def provenance(self, variant: str) -> Provenance:
        """What records repeat of a declared variant, or of a user's own weights."""
        upstream = f"{self.code.url} (network at commit {self.code.commit})"
        facts = self.variants.get(variant)
        if facts is None:
            return Provenance(
                training_data="not disclosed",
                weights_licence="unknown",
                code_licence=self.code.licence,
                source=f"{upstream}; configuration or weights given by the user",
                modalities=tuple(self.modalities),
            )
        return Provenance(
            training_data=facts.training_data,
            weights_licence=facts.licence,
            code_licence=facts.code_licence or self.code.licence,
            source=f"{upstream}; {facts.place}",
            modalities=tuple(self.modalities),
        )


@cache
def read_model_card(path: Path) -> ModelCard:
    """Load and check a model card.

    Raises:
        UsageError: not YAML, a field that no card has, or a wrong value; names file and field.
    """
    try:
        return ModelCard.model_validate(load_yaml(path))
    except (OSError, ValueError) as error:
        message = f"{path}: not a valid model card: {error}"
        raise UsageError(message) from error


def declared_corpus(card: Path | None, variant: str) -> Path | None:
    """The file that lists the training corpus of a variant, if its card names one."""
    facts = read_model_card(card).variants.get(variant) if card is not None else None
    if card is None or facts is None or facts.declaration is None:
        return None
    return (card.parent / facts.declaration).resolve()
