"""The precision of a tokenizer's own arithmetic, and how it marks what follows from it.

Only the tokenizer computes in it: what it gives is float32 again, codes are exact integers, and
feature extractors and metrics stay as they are. Any other than float32 belongs to the definition
of every number, so that no table, pair or gate sets such a number beside one in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from .record import Definition, Identity

FULL = "float32"


class Precision(StrEnum):
    """What a user asks for."""

    FP32 = "fp32"
    BF16 = "bf16"

    @property
    def stored(self) -> str:
        """Its name in records."""
        return {Precision.FP32: FULL, Precision.BF16: "bfloat16"}[self]

    @classmethod
    def of_record(cls, stored: str) -> Precision:
        """The one that a record names.

        Raises:
            UsageError: not one of these.
        """
        for each in cls:
            if each.stored == stored:
                return each
        message = f"precision {stored!r} cannot be asked for; known: {', '.join(cls)}"
        raise UsageError(message)


def marked(definitions: Mapping[str, Definition], precision: str) -> dict[str, Definition]:
    """The definitions of a cell in a precision, as records name it."""
    if precision == FULL:
        return dict(definitions)
    facts = {"tokenizer precision": f"{precision}, torch.autocast"}
    return {
        name: each.model_copy(
            update={"id": f"{each.id}-{precision}", "facts": {**each.facts, **facts}}
        )
        for name, each in definitions.items()
    }


def precision_warnings(precision: str) -> list[str]:
    """What a record says of its precision; nothing in float32."""
    if precision == FULL:
        return []
    return [f"the tokenizer computed in {precision}: compare with rows of that precision only"]


def cache_facts(identity: Identity | None) -> dict[str, str]:
    """What the cache of a tokenizer's output is also keyed by; nothing in float32."""
    if identity is None or identity.precision == FULL:
        return {}
    return {"precision": identity.precision}
