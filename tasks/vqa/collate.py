"""Sequences of text and image tokens, side by side in a batch: the same for every model.

A sequence is a prefix (text before the image, and the image) and segments (a question with its
answer). A segment sees the prefix and itself, not the other segments, and its positions go on from
the prefix: several questions about one image cost one image, and count as if each stood alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

IGNORED = -100
"""Label of what is not learnt."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A question with its answer.

    Attributes:
        asked: numbers of what stands between the image and the answer.
        answer: numbers of the answer with its end; empty where it is to be generated.
    """

    asked: Sequence[int]
    answer: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch.

    Attributes:
        before: numbers of the text before the image.
        image: float (L, D) features; None for text alone.
        told: numbers of a text that stands in the image's place.
        segments: what follows.
    """

    before: Sequence[int]
    image: np.ndarray | None
    told: Sequence[int]
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """A padded batch; B rows of T places.

    Attributes:
        ids: int64 (B, T); 0 at places of image tokens and of padding.
        image_places: bool (B, T).
        features: float32 (number of image tokens of all rows, D) in order; None without images.
        labels: int64 (B, T); at each place, the number that is to be predicted *there*, which is
            the next one of the answer; `IGNORED` elsewhere.
        positions: int64 (B, T).
        mask: bool (B, 1, T, T), which place sees which.
        lengths: int64 (B,).
    """

    ids: Tensor
    image_places: Tensor
    features: Tensor | None
    labels: Tensor
    positions: Tensor
    mask: Tensor
    lengths: Tensor

    @property
    def images(self) -> int:
        """Rows."""
        return len(self.ids)

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same on a device."""
        return TokenBatch(
            self.ids.to(device),
            self.image_places.to(device),
            None if self.features is None else self.features.to(device),
            self.labels.to(device),
            self.positions.to(device),
            self.mask.to(device),
            self.lengths.to(device),
        )


def collate(rows: Sequence[Row]) -> TokenBatch:
    """Pad rows on the right and build what a language model needs to read them."""
    longest = max(_length(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    labels = torch.full_like(ids, IGNORED)
    positions = torch.zeros_like(ids)
    places = torch.zeros(len(rows), longest, dtype=torch.bool)
    # Padding sees itself: a place that sees nothing would become NaN, and spread.
    mask = torch.eye(longest, dtype=torch.bool).repeat(len(rows), 1, 1)
    for number, row in enumerate(rows):
        image = 0 if row.image is None else len(row.image)
        first = len(row.before)
        prefix = first + image + len(row.told)
        ids[number, :first] = torch.tensor(list(row.before), dtype=torch.int64)
        places[number, first : first + image] = True
        ids[number, first + image : prefix] = torch.tensor(list(row.told), dtype=torch.int64)
        positions[number, :prefix] = torch.arange(prefix)
        mask[number, :prefix, :prefix] = torch.ones(prefix, prefix, dtype=torch.bool).tril()
        start = prefix
        for segment in row.segments:
            count = len(segment.asked) + len(segment.answer)
            stop = start + count
            ids[number, start:stop] = torch.tensor([*segment.asked, *segment.answer])
            positions[number, start:stop] = torch.arange(prefix, prefix + count)
            mask[number, start:stop, :prefix] = True
            mask[number, start:stop, start:stop] = torch.ones(count, count).tril().bool()
            answer = start + len(segment.asked)
            labels[number, answer - 1 : stop - 1] = ids[number, answer:stop]
            start = stop
    images = [row.image for row in rows if row.image is not None]
    features = torch.from_numpy(np.concatenate(images).astype(np.float32)) if images else None
    lengths = torch.tensor([_length(row) for row in rows])
    return TokenBatch(ids, places, features, labels, positions, mask[:, None], lengths)


def _length(row: Row) -> int:
    image = 0 if row.image is None else len(row.image)
    following = sum(len(each.asked) + len(each.answer) for each in row.segments)
    return len(row.before) + image + len(row.told) + following
