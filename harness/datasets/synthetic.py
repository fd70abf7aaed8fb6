"""`medsynth`: the procedural data set as images, captions and questions to evaluate on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from . import medsynth
from .card import Card, packaged_card
from .dataset import Item
from .images import Decoded
from .question import Question, pick_per_kind

SEED = 0
"""Of the published data set; another seed would be another data set."""


@dataclass(frozen=True, slots=True)
class SyntheticDataset:
    """One split of medsynth, `per_group` images of each modality."""

    id: str
    card: Card
    split: str
    per_group: int

    def part(self, name: str) -> SyntheticDataset:
        """Another split."""
        return build(f"medsynth@{name}", argument="", variant=name)

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Images by modality and index; `limit` takes the first indices (as good as any)."""
        count = self.per_group if limit is None else min(limit, self.per_group)
        return [
            self._item(modality, index)
            for modality in medsynth.MODALITIES
            for index in range(count)
        ]

    def questions(self, limit: int | None = None) -> Sequence[Question]:
        """Four to six questions about each image of `items()`; nothing is rendered for them."""
        asked = [
            question
            for modality in medsynth.MODALITIES
            for index in range(self.per_group)
            for question in self._questions(modality, index)
        ]
        return pick_per_kind(asked, limit)

    def questions_about(self, images: Collection[str]) -> Sequence[Question]:
        """All questions about some images, by their ids, without describing the others."""
        return [
            question
            for modality in medsynth.MODALITIES
            for index in range(self.per_group)
            if self._id(modality, index) in images
            for question in self._questions(modality, index)
        ]

    def _id(self, modality: str, index: int) -> str:
        return f"{self.split}/{modality}/{index:05d}"

    def _item(self, modality: str, index: int) -> Item:
        key = (modality, index, self.split)
        told = medsynth.describe(modality, index, seed=SEED, split=self.split)
        return Item(
            id=self._id(modality, index),
            group=modality,
            load=partial(_pixels, *key),
            content_key=partial(_content_key, *key),
            label=told.label,
            patient=told.patient,
            load_mask=partial(_mask, *key),
            caption=told.caption,
        )

    def _questions(self, modality: str, index: int) -> list[Question]:
        image_id = self._id(modality, index)
        told = medsynth.describe(modality, index, seed=SEED, split=self.split)
        return [
            Question(
                id=f"{image_id}/{position}",
                image_id=image_id,
                question=asked.question,
                answer=asked.answer,
                kind=asked.kind,
                topic=asked.topic,
            )
            for position, asked in enumerate(told.questions)
        ]


@lru_cache(maxsize=64)
def _sample(modality: str, index: int, split: str) -> medsynth.Sample:
    return medsynth.generate(modality, index, seed=SEED, split=split)


def _pixels(modality: str, index: int, split: str) -> Decoded:
    sample = _sample(modality, index, split)
    hounsfield = sample.hounsfield
    intensities = None if hounsfield is None else hounsfield.astype(np.float32)
    return Decoded(sample.image, intensities=intensities)


def _mask(modality: str, index: int, split: str) -> np.ndarray:
    return _sample(modality, index, split).mask


def _content_key(modality: str, index: int, split: str) -> list[Any]:
    import scipy

    # Library versions may change last bits, so each has its own cache; the fingerprint is taken
    # of the pixels themselves.
    versions = [medsynth.GENERATOR_VERSION, np.__version__, scipy.__version__]
    return [versions, SEED, modality, index, split]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> SyntheticDataset:
    """Make `medsynth` (its test split) or `medsynth@train`, `medsynth@val`."""
    del data_root
    card = packaged_card("medsynth")
    if argument:
        message = f"{reference}: medsynth is embedded and takes no path"
        raise UsageError(message)
    split = variant or "test"
    if split not in card.splits:
        message = f"{reference}: unknown split {split!r}; splits: {', '.join(card.splits)}"
        raise UsageError(message)
    total = card.splits[split] or 0
    name = "medsynth" if split == "test" else f"medsynth@{split}"
    return SyntheticDataset(name, card, split, total // len(medsynth.MODALITIES))
