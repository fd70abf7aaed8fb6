"""Labels of which several may hold for an image: `effusion|nodule`, in files and tables alike.

The one rule: images are of a multi-label set where the label of any of them holds a `|`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

SEPARATOR = "|"
"""Between the labels of an image that has several."""


def hold_several(labels: Iterable[str]) -> bool:
    """Whether any of these says that several labels hold for its image."""
    return any(SEPARATOR in label for label in labels)


def names_of(label: str) -> list[str]:
    """The labels that one text joins; none of an empty one."""
    return [name for part in label.split(SEPARATOR) if (name := part.strip())]


def strata_of(labels: Sequence[str]) -> list[str]:
    """A name for each image to draw within: its label, of several the rarest (ties: the first)."""
    joined = [names_of(label) for label in labels]
    counts = Counter(name for names in joined for name in set(names))
    return [
        min(names, key=lambda name: (counts[name], name)) if names else "no label"
        for names in joined
    ]
