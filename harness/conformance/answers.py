"""What a tokenizer says of a batch of images, and how far two such answers are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ValidationFailed
from ..protocol import Encoding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOLERANCE = 1e-4
"""Relative, for floats that may be computed in another order."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a tokenizer says of a batch; None and absent where it cannot."""

    encoding: Encoding | None
    decoded: Tensor | None
    views: Mapping[str, Tensor]

    def select(self, places: Sequence[int]) -> Answers:
        """The answers for some images of the batch, in the order given."""
        order = list(places)
        return Answers(
            encoding=None if self.encoding is None else _select(self.encoding, order),
            decoded=None if self.decoded is None else self.decoded[order],
            views={name: view[order] for name, view in self.views.items()},
        )

    def difference(self, other: Answers) -> float:
        """Largest relative difference; codes, payload and bits must be equal.

        Raises:
            ValidationFailed: they are not, or shapes differ.
        """
        worst = 0.0
        if self.encoding is not None and other.encoding is not None:
            worst = encoding_difference(self.encoding, other.encoding)
        if self.decoded is not None and other.decoded is not None:
            decoded = relative_difference("decoded images", self.decoded, other.decoded)
            worst = max(worst, decoded)
        views = [relative_difference(n, view, other.views[n]) for n, view in self.views.items()]
        return max(worst, *views) if views else worst


def _select(encoding: Encoding, order: list[int]) -> Encoding:
    return Encoding(
        indices=None if encoding.indices is None else encoding.indices[order],
        latents=None if encoding.latents is None else encoding.latents[order],
        payload=None if encoding.payload is None else tuple(encoding.payload[i] for i in order),
        bits=None if encoding.bits is None else tuple(encoding.bits[i] for i in order),
    )


def relative_difference(what: str, reference: Tensor, other: Tensor) -> float:
    """Largest absolute difference over the largest absolute reference value.

    Raises:
        ValidationFailed: the shapes differ.
    """
    if reference.shape != other.shape:
        message = f"{what}: shape {tuple(other.shape)} instead of {tuple(reference.shape)}"
        raise ValidationFailed(message)
    ours, theirs = reference.detach().double().cpu(), other.detach().double().cpu()
    scale = max(float(ours.abs().max()), torch.finfo(torch.float32).tiny)
    return float((ours - theirs).abs().max()) / scale


def encoding_difference(reference: Encoding, other: Encoding) -> float:
    """Relative difference of the latents; codes, payload and bits must be equal.

    Raises:
        ValidationFailed: they are not, or one encoding lacks what the other has.
    """
    for name in ("indices", "latents"):
        if (getattr(reference, name) is None) != (getattr(other, name) is None):
            message = f"{name} are given in one call and missing in another"
            raise ValidationFailed(message)
    if reference.payload != other.payload or reference.bits != other.bits:
        message = "payload or bits differ"
        raise ValidationFailed(message)
    if reference.indices is not None and other.indices is not None:
        relative_difference("indices", reference.indices, other.indices)
        changed = int((reference.indices != other.indices).sum())
        if changed:
            message = f"{changed} of {reference.indices.numel()} indices differ"
            raise ValidationFailed(message)
    if reference.latents is not None and other.latents is not None:
        return relative_difference("latents", reference.latents, other.latents)
    return 0.0
