"""What images of each modality are asked about.

A trait is asked for only where it can be told from the image: a side not for a finding at the
midline, a grade not near the limit between two grades, contrast not where it is weak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .captions_words import height_of, side_of
from .questions import Asked, Trait, Traits, ask
from .questions_views import EXTRAS

if TYPE_CHECKING:
    import numpy as np

    from .latent import Finding

MODALITY_ANSWERS: dict[str, str] = {
    "ct": "CT",
    "dermoscopy": "dermoscopy",
    "endoscopy": "endoscopy",
    "fundus": "fundus photography",
    "microscopy": "blood smear microscopy",
    "mri": "MRI",
    "pathology": "histology",
    "ultrasound": "ultrasound",
    "xray": "X-ray",
}
"""How an answer names each modality."""

ORGAN_ANSWERS: dict[str, str] = {
    "ct": "chest",
    "dermoscopy": "skin",
    "endoscopy": "gut",
    "fundus": "retina",
    "microscopy": "blood",
    "mri": "brain",
    "ultrasound": "breast",
    "xray": "chest",
}
"""How an answer names what is shown; sections of tissue do not tell their organ."""

MARGIN = 0.08
"""Distance of the severity from the limit between two grades, below which it is not asked for."""

_PLACED = ("dermoscopy", "endoscopy", "fundus", "microscopy", "pathology")
# Modalities whose rendering keeps the finding's height.


def write_questions(
    modality: str, state: Any, classes: Mapping[str, tuple[str, ...]], rng: np.random.Generator
) -> tuple[Asked, ...]:
    """Return four to six questions about an image with the given state.

    Args:
        modality: the image's modality.
        state: its latent state.
        classes: class labels of each modality.
        rng: chooses questions and phrasings.
    """
    finding: Finding = state.finding
    core = (_modality(modality, tuple(classes)), _finding(finding, classes[modality]))
    extra = [_organ(modality)] if modality in ORGAN_ANSWERS else []
    # An enlarged heart has no side, and its degree is lost among the sizes of normal hearts.
    if finding.present and finding.label != "cardiomegaly":
        extra += [*_grades(finding), *_places(modality, finding)]
    views: Callable[[Any], list[Trait]] | None = EXTRAS.get(modality)
    if views is not None:
        extra += views(state)
    return ask(rng, Traits(core, tuple(extra)))


def _modality(modality: str, known: tuple[str, ...]) -> Trait:
    return Trait(
        "modality",
        MODALITY_ANSWERS[modality],
        tuple(MODALITY_ANSWERS[name] for name in known),
        claims=("Is this image from {}?", "Was {} used to make this image?"),
        choices=(
            "Which is this, {} or {}?",
            "Was this image made by {} or by {}?",
        ),
        opens=(
            "Which imaging modality is this?",
            "How was this image made?",
            "Name the imaging technique.",
        ),
    )


def _finding(finding: Finding, classes: tuple[str, ...]) -> Trait:
    return Trait(
        "finding",
        finding.label.replace("_", " "),
        tuple(label.replace("_", " ") for label in classes),
        claims=(
            "Should this image be read as {}?",
            "Is {} the right reading of this image?",
        ),
        choices=("Which fits this image, {} or {}?", "Is the reading of this image {} or {}?"),
        opens=(
            "What is the main finding in this image? Answer normal if there is none.",
            "Which abnormality is seen here, or is the image normal?",
        ),
    )


def _organ(modality: str) -> Trait:
    return Trait(
        "organ",
        ORGAN_ANSWERS[modality],
        tuple(ORGAN_ANSWERS.values()),
        opens=("Which part of the body is shown?", "What part of the body does this image show?"),
    )


def _grades(finding: Finding) -> list[Trait]:
    near = min(abs(finding.severity - 1 / 3), abs(finding.severity - 2 / 3)) < MARGIN
    if near:
        return []
    outer, middle = 1 / 3 - MARGIN, 1 / 3 - 2 * MARGIN
    traits = [
        Trait(
            "grade",
            finding.grade,
            ("mild", "moderate", "severe"),
            opens=(
                "How severe is the finding: mild, moderate or severe?",
                "Grade the finding as mild, moderate or severe.",
            ),
            weights=(outer, middle, outer),
        )
    ]
    if finding.grade != "moderate":
        traits.append(
            Trait(
                "grade",
                finding.grade,
                ("mild", "severe"),
                claims=("Is the finding rather {} in extent?", "Would you call the finding {}?"),
                choices=("Is the finding {} or {}?", "Which is the finding, {} or {}?"),
            )
        )
    return traits


def _places(modality: str, finding: Finding) -> list[Trait]:
    side, height = side_of(finding), height_of(finding)
    traits = []
    if side != "none":
        traits.append(
            Trait(
                "side",
                side,
                ("left", "right"),
                claims=(
                    "Does the centre of the finding lie in the image's {} half?",
                    "Is the finding centred in the {} half of the image?",
                ),
                choices=(
                    "Which half of the image holds the centre of the finding, {} or {}?",
                    "Is the finding centred in the image's {} half or in its {} half?",
                ),
            )
        )
    if modality not in _PLACED or height == "none":
        return traits
    traits.append(
        Trait(
            "height",
            height,
            ("upper", "lower"),
            claims=("Is the finding centred in the {} half of the image?",),
            choices=("Does the centre of the finding lie in the image's {} or {} half?",),
            # Endoscopic findings lie at heights from 0.3 to 0.68.
            weights=(0.2, 0.18) if modality == "endoscopy" else (),
        )
    )
    if side != "none":
        values = ("upper left", "upper right", "lower left", "lower right")
        traits.append(
            Trait(
                "quadrant",
                f"{height} {side}",
                values,
                opens=(
                    "Which quadrant of the image holds the centre of the finding?",
                    "In which quadrant of the image is the finding centred?",
                ),
            )
        )
    return traits
