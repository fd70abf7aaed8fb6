"""Whether a licence text allows commercial use, as far as its words say so."""

from __future__ import annotations

import re
from typing import Literal

Use = Literal["commercial", "non-commercial", "unclear"]

_REFUSES = re.compile(
    r"\bnc\b|non-?\s?commercial|research (only|use)|no redistribution", re.IGNORECASE
)
_ALLOWS = re.compile(
    r"\b(apache|mit|bsd|isc|cc0|cc[ -]by(?:-sa)?[ -]?\d|cc[ -]by$|public domain|unlicense|zlib"
    r"|mpl|lgpl|gpl)",
    re.IGNORECASE,
)


def commercial_use(licence: str) -> Use:
    """`commercial` for texts that name a licence known to allow it; no legal advice.

    Unknown, absent and own terms are `unclear`: a preset that filters by licence leaves them out.
    """
    if _REFUSES.search(licence):
        return "non-commercial"
    return "commercial" if _ALLOWS.search(licence) else "unclear"
