"""`union:A,B`: several sets as one, such as six MedMNIST sets whose modalities are six classes.

Each part of the union is the union of that part of every set. Ids carry the set's name, patients
too: a patient `1` of one set is not the patient `1` of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UsageError
from .card import Card
from .dataset import Dataset, Item
from .parts import part_of


@dataclass(frozen=True, slots=True)
class UnionDataset:
    """Several datasets, one after the other."""

    id: str
    card: Card
    split: str
    members: tuple[Dataset, ...]

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """The items of each set in turn; `limit` is per group of each set."""
        return [
            replace(
                item,
                id=f"{member.id}/{item.id}",
                patient=None if item.patient is None else f"{member.id}/{item.patient}",
            )
            for member in self.members
            for item in member.items(limit)
        ]

    def part(self, name: str) -> UnionDataset:
        """The union of that part of every set.

        Raises:
            UsageError: a set has no such part.
        """
        return _union(tuple(part_of(member, name) for member in self.members), name)


def sets_of(dataset_id: str, image_ids: Iterable[str]) -> list[str]:
    """Id of the set that each image of a union is of; nothing for any other dataset.

    Args:
        dataset_id: of the union.
        image_ids: of its images.
    """
    kind, _, listed = dataset_id.partition(":")
    if kind != "union":
        return []
    members = sorted(listed.split(","), key=len, reverse=True)
    return [
        next((member for member in members if image.startswith(f"{member}/")), "")
        for image in image_ids
    ]


def _union(members: tuple[Dataset, ...], split: str) -> UnionDataset:
    cards = [member.card for member in members]
    name = f"union:{','.join(member.id for member in members)}"
    closed = any(card.pixels != "publish" for card in cards)
    modalities = dict.fromkeys(modality for card in cards for modality in card.modalities)
    card = Card.model_validate(
        {
            "id": name,
            "title": " + ".join(card.title for card in cards),
            "source": "; ".join(dict.fromkeys(card.source for card in cards)),
            "licence": "; ".join(dict.fromkeys(card.licence for card in cards)),
            "modalities": list(modalities),
            "layout": "verified (every set by its own reader)",
            "how_to_get": "\n".join(dict.fromkeys(card.how_to_get for card in cards)),
            "derived_from": [card.id for card in cards],
            "known_problems": list(dict.fromkeys(p for c in cards for p in c.known_problems)),
            "macro": all(card.macro for card in cards),
            "pixels": "local" if closed else "publish",
        }
    )
    return UnionDataset(name, card, split, members)


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> UnionDataset:
    """Make the union of the sets whose ids `argument` lists between commas.

    Raises:
        UsageError: fewer than two sets, or one of them twice.
        MissingPrerequisite: a set is not here.
    """
    from ..registry import load_dataset

    names = [name.strip() for name in argument.split(",") if name.strip()]
    if variant or len(names) < 2 or len(set(names)) != len(names):
        message = f"{reference}: write union:A,B with at least two different sets"
        raise UsageError(message)
    members = tuple(load_dataset(name, data_root=data_root) for name in names)
    splits = dict.fromkeys(member.split for member in members)
    return _union(members, ", ".join(splits))
