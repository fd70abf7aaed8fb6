"""Whether the data of a source are here, before anything is painted, decoded or trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import MedbenchError, UsageError
from ..config_terms import read_fields
from ..pool import paint
from .build import unknown_kind
from .datasets import build_listed, require_epoch
from .mixture import MixtureTerms
from .pools import PoolsTerms


def source_problems(
    terms: Any, where: str, *, texts: bool = False, epoch_images: int | None = None
) -> list[MedbenchError]:
    """What keeps a source from giving images.

    Args:
        terms: as `build_source` takes them.
        where: their place in the configuration, for messages.
        texts: whether images without a text are of no use.
        epoch_images: how many images a list should have; None: any number.

    Raises:
        UsageError: a term is unknown, missing or of the wrong kind.
    """
    problems: list[MedbenchError] = []
    told = False
    for part, place in _parts(terms, where):
        try:
            told |= _has_texts(part, place, epoch_images if part is terms else None)
        except MedbenchError as error:
            problems.append(error)
    if texts and not told and not problems:
        message = (
            f"{where}: the images have no captions, which learning from texts needs: say "
            "`caption: caption` under data.source, or choose data that have them"
        )
        problems.append(UsageError(message))
    return problems


def _parts(terms: Any, where: str) -> Iterator[tuple[Any, str]]:
    """The sources of which a source is mixed, or itself."""
    if isinstance(terms, dict) and terms.get("kind") == "mixture":
        for number, each in enumerate(read_fields(MixtureTerms, terms, where).sources):
            yield from _parts(each, f"{where}.sources[{number}]")
    else:
        yield terms, where


def _has_texts(terms: Any, where: str, epoch_images: int | None) -> bool:
    """Find the data of one source; whether its images have texts."""
    kind = terms.get("kind") if isinstance(terms, dict) else terms
    if kind == "pools":
        read = read_fields(PoolsTerms, terms, where)
        return any(paint(spec, 0).told.text for spec in read.pools)
    if kind != "dataset":
        raise unknown_kind(kind, where)
    # As it is trained from, but for the copies at another side, which take their time.
    require_epoch(build_listed({**terms, "prepared": None}, seed=0, where=where), epoch_images)
    return terms.get("caption", "none") != "none"
