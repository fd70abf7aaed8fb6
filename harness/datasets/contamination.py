"""Whether a dataset is among what a tokenizer was trained on, as its authors declare it.

A declaration lists the sets of a training corpus as its authors print them. Names are compared,
not images: a named set may have been used in part, and a set without a match may still hold
copies. Comparing the images is the business of an audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..documents import load_yaml
from ..errors import UsageError
from .card import Card, packaged_cards

State = Literal["none", "clean by declaration", "overlap declared", "not disclosed"]
"""The words of `TokenizerInfo.training_data`, here for one dataset."""

Relation = Literal["same", "source", "part", "shared"]
"""How a declared set touches the dataset: it is the same; the dataset takes its images from it;
it takes images from the dataset; both take images from a third."""

_WORDS: dict[Relation, str] = {
    "same": "is the same set",
    "source": "is where its images come from",
    "part": "takes images from it",
    "shared": "takes images from the same source",
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredSet(_Closed):
    """One set of a training corpus."""

    table: str
    """Where the authors print it."""
    name: str
    """As printed."""
    count: int | None
    kind: Literal["images", "pairs"]
    citation: str = ""
    """Reference numbers of the paper."""
    also: list[str] = Field(default_factory=list)
    """Other names of the same set."""
    sources: list[str] = Field(default_factory=list)
    """Sets that its images come from, in part or whole."""
    note: str | None = None

    @property
    def text(self) -> str:
        """`Drive (S5, 40 images)`."""
        count = f", {self.count:,} {self.kind}" if self.count is not None else ""
        return f"{self.name} ({self.table}{count})"


class Declaration(_Closed):
    """A training corpus as its authors declare it."""

    tokenizer: str
    paper: str
    statement: str
    """What they say of overlap with evaluation sets."""
    stated: dict[Literal["images", "pairs"], int]
    """Totals that they claim."""
    complete: bool
    """Whether the rows are all that was trained on; only then can a set be clean."""
    rows: list[DeclaredSet]

    def listed(self, kind: Literal["images", "pairs"]) -> int:
        """Sum of the rows of one kind."""
        return sum(row.count or 0 for row in self.rows if row.kind == kind)

    @property
    def unlisted(self) -> dict[str, int]:
        """What the stated totals have beyond the rows, where that is not nothing."""
        short = {kind: total - self.listed(kind) for kind, total in self.stated.items()}
        return {kind: count for kind, count in short.items() if count}

    @model_validator(mode="after")
    def _complete_lists_add_up(self) -> Declaration:
        if self.complete and self.unlisted:
            message = f"declared complete, but the rows differ from the totals by {self.unlisted}"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class Match:
    """A declared set that touches the dataset."""

    row: DeclaredSet
    relation: Relation
    through: str
    """The name that both have, as the declaration writes it."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What is declared about one tokenizer's training data and one dataset."""

    state: State
    reason: str
    matches: tuple[Match, ...] = ()

    @property
    def text(self) -> str:
        """In the form of `TokenizerInfo.training_data`: `overlap declared: …`."""
        return f"{self.state}: {self.reason}" if self.state == "overlap declared" else self.state


@cache
def read_declaration(path: Path) -> Declaration:
    """Load and check a declaration.

    Raises:
        UsageError: not YAML, an unknown field, or a wrong value; names file and field.
    """
    try:
        return Declaration.model_validate(load_yaml(path))
    except (OSError, ValueError) as error:
        message = f"{path}: not a valid declaration of training data: {error}"
        raise UsageError(message) from error


def disclose(card: Card, training_data: str, declaration: Path | None = None) -> Disclosure:
    """What a tokenizer's card says about one dataset.

    Args:
        card: of the dataset.
        training_data: `TokenizerInfo.training_data`, the summary for all datasets.
        declaration: file that lists the training corpus, if there is one; it then decides.

    Raises:
        UsageError: the declaration cannot be read.
    """
    if declaration is not None:
        return overlap(card, read_declaration(declaration))
    if training_data == "none" or training_data == "clean by declaration":
        return Disclosure(training_data, "as its card says, without a list of sets")
    return Disclosure("not disclosed", f"its card has no list of sets ({training_data})")


def overlap(card: Card, declaration: Declaration) -> Disclosure:
    """Compare a dataset's names with those of a declared corpus.

    A set that no row names is clean only where the declaration is complete.
    """
    own, taken_from = _own_names(card), _source_names(card)
    found = (_match(row, own, taken_from) for row in declaration.rows)
    matches = tuple(match for match in found if match is not None)
    if matches:
        # A set that is named outright says more than one that shares a source.
        strongest = sorted(matches, key=lambda match: get_args(Relation).index(match.relation))
        return Disclosure("overlap declared", _reason(card, strongest), tuple(strongest))
    if declaration.complete:
        return Disclosure("clean by declaration", f"no set of {declaration.tokenizer} names it")
    missing = ", ".join(f"{count:,} {kind}" for kind, count in declaration.unlisted.items())
    short = f", and is {missing} short of the stated total" if missing else ""
    reason = f"no listed set names it, but the list is not complete{short}"
    return Disclosure("not disclosed", reason)


def _own_names(card: Card) -> set[str]:
    return {_plain(name) for name in (card.id, *card.aliases, *(row.name for row in card.listed))}


def _source_names(card: Card) -> set[str]:
    """Names of the sets that the images come from, and in turn of theirs, as far as cards tell."""
    names: set[str] = set()
    waiting = {_plain(name) for name in card.derived_from}
    while waiting:
        names |= waiting
        sources = [each for each in packaged_cards().values() if _own_names(each) & waiting]
        found = (_own_names(each) | {_plain(n) for n in each.derived_from} for each in sources)
        waiting = set().union(*found) - names
    return names


def _plain(name: str) -> str:
    """Letters and digits only: papers print one set as CHASE_DB1, CHASEDB1 and Chase-DB1."""
    return "".join(c for c in name.partition("@")[0].casefold() if c.isalnum())


def _match(row: DeclaredSet, own: set[str], taken_from: set[str]) -> Match | None:
    names, sources = [row.name, *row.also], row.sources
    candidates: list[tuple[Relation, list[str], set[str]]] = [
        ("same", names, own),
        ("source", names, taken_from),
        ("part", sources, own),
        ("shared", sources, taken_from),
    ]
    for relation, words, known in candidates:
        through = next((word for word in words if _plain(word) in known), None)
        if through is not None:
            return Match(row, relation, through)
    return None


def _reason(card: Card, matches: list[Match]) -> str:
    parts = []
    for match in matches:
        through = f" ({match.through})" if _plain(match.through) != _plain(match.row.name) else ""
        parts.append(f"{match.row.text} {_WORDS[match.relation]}{through}")
    return f"{card.id}: " + "; ".join(parts)
