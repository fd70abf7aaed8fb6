"""File names that every system takes, still unique."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 120


def safe(name: str) -> str:
    """`name` in letters, digits, `.`, `_`, `-` and `/`; what had to change gets a short hash."""
    parts = [
        re.sub(r"[^A-Za-z0-9._-]", "_", part).strip(".")[:_LONGEST] for part in name.split("/")
    ]
    plain = "/".join(part or "_" for part in parts)
    if plain == name:
        return plain
    return f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def flat(name: str) -> str:
    """The same in one path component, without the double hyphen that separates fields."""
    plain = re.sub(r"-{2,}", "-", safe(name).replace("/", "_")).strip("-")
    if plain == name:
        return plain
    return f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"
