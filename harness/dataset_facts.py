"""What a record says of the images that it rests on."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .record import DatasetFacts, FailedImage

if TYPE_CHECKING:
    from .datasets.card import Card
    from .datasets.dataset import Dataset
    from .datasets.store import ImageStore
    from .task import Plan

_MARKS = ("modified file", "found ")
"""How a reader begins what a record must say of its data: not the owners' file, or not all."""


def data_warnings(card: Card) -> list[str]:
    """Marks of data that are not what their owner distributes."""
    return [problem for problem in card.known_problems if problem.startswith(_MARKS)]


def dataset_facts(dataset: Dataset, store: ImageStore, plan: Plan, disclosure: str) -> DatasetFacts:
    """Which images were used; `disclosure`: whether the tokenizer had seen them."""
    patients = {row.patient for row in store.rows if row.patient}
    notes = Counter(note for row in store.rows for note in row.notes)
    card = dataset.card
    return DatasetFacts(
        id=dataset.id,
        split=dataset.split,
        fingerprint=store.fingerprint,
        n=len(store),
        groups=dict(plan.groups),
        patients=len(patients) or None,
        limit=plan.limit,
        resolution=plan.resolution,
        ingest_rule=plan.ingest_rule,
        licence=card.licence,
        macro=card.macro,
        pixels=card.pixels,
        failed=[FailedImage(id=f.id, reason=f.reason) for f in store.failures],
        notes=dict(notes),
        disclosure=disclosure,
    )
