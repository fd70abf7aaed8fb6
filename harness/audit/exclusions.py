"""Which images to leave out so that nothing is left shared: a list to keep with the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import hash_value, write_bytes
from .findings import Findings, Picture

_PRIVATE_FIRST = -1
_SPLIT_RANK = {"train": 0}
"""What models have been trained on stays; what they are judged by gives way."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """One image to leave out."""

    dataset: str
    split: str
    id: str
    sha256: str
    """Of the decoded pixels, so that the list can be checked against another copy of the set."""
    same_as: str
    """The image that stays."""


def exclusions(findings: Findings) -> tuple[Exclusion, ...]:
    """All but the first image of each family of same pictures.

    First comes a private one, then one of a train split, then the order of the sources. Private
    images are never listed.
    """
    order = _families(findings)
    result = []
    for family in order:
        first, *others = sorted(family, key=_rank)
        result += [
            Exclusion(each.dataset, each.split, each.id, each.sha256, str(first))
            for each in others
            if each.sha256 is not None
        ]
    return tuple(sorted(result, key=lambda each: (each.dataset, each.split, each.id)))


def _rank(picture: Picture) -> int:
    return _PRIVATE_FIRST if picture.sha256 is None else _SPLIT_RANK.get(picture.split, 1)


def _families(findings: Findings) -> list[list[Picture]]:
    """Connected pictures, each family in the order of the sources."""
    parent: dict[Picture, Picture] = {}

    def root(picture: Picture) -> Picture:
        parent.setdefault(picture, picture)
        while parent[picture] != picture:
            parent[picture] = parent[parent[picture]]
            picture = parent[picture]
        return picture

    for pair in findings.pairs:
        one, other = root(pair.first), root(pair.second)
        if one != other:
            parent[other] = one
    families: dict[Picture, list[Picture]] = {}
    for picture in parent:
        families.setdefault(root(picture), []).append(picture)
    return list(families.values())


def write_exclusions(findings: Findings, path: Path) -> None:
    """Write the list as YAML with the rule that made it and a version that follows from both."""
    import yaml

    listed = _plain(exclusions(findings))
    value = {
        "version": hash_value([findings.rule, listed])[:12],
        "rule": findings.rule,
        "exclude": listed,
    }
    write_bytes(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode())


def _plain(listed: Sequence[Exclusion]) -> list[dict[str, Any]]:
    return [
        {
            "dataset": each.dataset,
            "split": each.split,
            "id": each.id,
            "sha256": each.sha256,
            "same_as": each.same_as,
        }
        for each in listed
    ]
