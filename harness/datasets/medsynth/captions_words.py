"""Words that the captions of several modalities share: sides, sizes, grades and sentences.

Left and right are those of the image, in captions as in questions: the patient's own sides could
only be told by who knows how the image is displayed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .latent import pick

if TYPE_CHECKING:
    import numpy as np

    from .latent import Finding

MIDLINE = 0.06
"""Findings whose centre is nearer to a midline (fraction of the image side) have no side."""

MIDLINE_RADII, SCATTERED_RADII = 0.35, 0.8
"""The same limit in radii of the finding, for large ones and for those made of many spots."""

_SCATTERED = ("haemorrhage", "exudate", "drusen", "malaria", "sickle_cells")


@dataclass(frozen=True, slots=True)
class Parts:
    """Sentences of a caption; all but the first two may be empty.

    Attributes:
        study: what kind of image, of what.
        finding: what is wrong, how much, where, how large; or that nothing is.
        detail: anatomy and appearance beside the finding.
        acquisition: how the image was taken.
    """

    study: str
    finding: str
    detail: str = ""
    acquisition: str = ""


def side_of(finding: Finding) -> str:
    """The half of the image, "none" without a finding or near the vertical midline."""
    return finding.side if _is_off(finding.x, finding) else "none"


def height_of(finding: Finding) -> str:
    """The "upper" or "lower" half of the image, "none" likewise."""
    if not finding.present or not _is_off(finding.y, finding):
        return "none"
    return "upper" if finding.y < 0.5 else "lower"


def _is_off(position: float, finding: Finding) -> bool:
    radii = SCATTERED_RADII if finding.label in _SCATTERED else MIDLINE_RADII
    return abs(position - 0.5) > max(MIDLINE, radii * finding.radius)


def where(rng: np.random.Generator, finding: Finding) -> str:
    """The half of the image, or that the finding lies near the midline."""
    side = side_of(finding)
    if side == "none":
        return pick(rng, ("near the vertical midline of the image", "close to the image's midline"))
    return pick(
        rng,
        (
            f"in the {side} half of the image",
            f"on the {side} side of the image",
            f"to the {side} of the image's midline",
        ),
    )


def across(rng: np.random.Generator, diameter: float) -> str:
    """A diameter, given as a fraction of the image side, in whole per cent."""
    percent = max(1, round(100 * diameter))
    return pick(
        rng,
        (
            f"about {percent}% of the image width across",
            f"measuring roughly {percent}% of the image width",
            f"with a diameter near {percent}% of the image width",
        ),
    )


def graded(rng: np.random.Generator, finding: Finding) -> str:
    """The grade as an apposition."""
    return pick(
        rng, (f"graded {finding.grade}", f"{finding.grade} in degree", f"of {finding.grade} grade")
    )


def join(*clauses: str) -> str:
    """Clauses that are not empty, as one sentence with commas."""
    text = ", ".join(clause for clause in clauses if clause)
    return sentence(text)


def sentence(text: str) -> str:
    """The text with a capital and a full stop; an empty one stays empty."""
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
