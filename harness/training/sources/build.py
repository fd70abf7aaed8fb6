"""A configuration's `data` as a source of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from .source import ImageSource

KINDS = ("pools", "dataset", "mixture")


def build_source(
    terms: Mapping[str, Any], *, seed: int, cache: Path, workers: int = 1, where: str = "data"
) -> ImageSource:
    """The source that a configuration asks for.

    Args:
        terms: `kind` and the fields of `PoolsTerms`, `DatasetTerms` or `MixtureTerms`.
        seed: of every draw about an image, and of the order of listed images.
        cache: root of the cache; pools are painted below it, where they are not there yet.
        workers: processes that paint.
        where: the place of `terms` in the configuration, for messages.

    Raises:
        UsageError: a term is unknown, missing or impossible, or data cannot be read.
        MissingPrerequisite: data are not there.
    """
    kind = terms.get("kind") if isinstance(terms, Mapping) else terms
    if kind == "pools":
        from .pools import build_pools

        return build_pools(terms, seed=seed, folder=cache / "pools", workers=workers, where=where)
    if kind == "dataset":
        from .datasets import build_listed

        return build_listed(terms, seed=seed, where=where)
    if kind == "mixture":
        from .mixture import build_mixture

        return build_mixture(terms, seed=seed, cache=cache, workers=workers, where=where)
    raise unknown_kind(kind, where)


def unknown_kind(kind: object, where: str) -> UsageError:
    """The refusal of a source of another kind."""
    return UsageError(f"{where}.kind is {kind!r}; known: {', '.join(KINDS)}")
