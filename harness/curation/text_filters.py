"""The filters that look at texts: relevance by tags, and the caption."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .image_filters import Rejection
from .thresholds import BiomedicaRule, CaptionThresholds
from .unit import Settings, Unit

PRESETS = ("biomedica",)


def reject_text(unit: Unit, settings: Settings) -> Rejection | None:
    """The first text filter that the unit does not pass, or None."""
    rejection = None
    if settings.preset == "biomedica":
        rejection = _biomedica(unit, settings.thresholds.biomedica)
    if rejection is None and settings.tags:
        rejection = _tags(unit, settings.tags)
    if rejection is None and settings.captions:
        rejection = reject_caption(unit.caption, settings.thresholds.captions)
    return rejection


def _folded(values: Iterable[str]) -> set[str]:
    return {value.strip().casefold() for value in values}


def _biomedica(unit: Unit, rule: BiomedicaRule) -> Rejection | None:
    primary, secondary = _folded(unit.primary_labels), _folded(unit.secondary_labels)
    if not _folded([rule.primary_label.value]) & primary:
        return Rejection("relevance", f"primary label {_shown(unit.primary_labels)}")
    if not _folded(rule.secondary_labels.value) & secondary:
        return Rejection("relevance", f"secondary label {_shown(unit.secondary_labels)}")
    return None


def _tags(unit: Unit, wanted: tuple[str, ...]) -> Rejection | None:
    given = (*unit.tags, *unit.primary_labels, *unit.secondary_labels)
    if _folded(wanted) & _folded(given):
        return None
    return Rejection("relevance", f"tags {_shown(given)}")


def _shown(values: tuple[str, ...]) -> str:
    return ", ".join(values) if values else "none"


def reject_caption(caption: str | None, thresholds: CaptionThresholds) -> Rejection | None:
    """Why a caption does not do; runs of white space count as one character."""
    text = " ".join((caption or "").split())
    if not text:
        return Rejection("caption-missing", "no caption")
    wanted = thresholds.minimum_characters.value
    if len(text) < wanted:
        return Rejection("caption-short", f"{len(text)} < {wanted} characters")
    if not _expression(thresholds.keywords.value).search(text):
        return Rejection("caption-keywords", "no clinical keyword")
    return None


@lru_cache(maxsize=4)
def _expression(keywords: tuple[str, ...]) -> re.Pattern[str]:
    """Any of the keywords as whole words, also with a plural s or es."""
    words = "|".join(re.escape(word) for word in sorted(keywords, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{words})(?:e?s)?(?!\w)", re.IGNORECASE)
