"""Traits that only one modality has: view, eye, contrast, devices, cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .questions import Trait

if TYPE_CHECKING:
    from .ct import CtState
    from .dermoscopy import DermoscopyState
    from .endoscopy import EndoscopyState
    from .fundus import FundusState
    from .microscopy import MicroscopyState
    from .mri_state import MriState
    from .ultrasound import UltrasoundState
    from .xray import XrayState

_YES_NO = ("yes", "no")


def _fact(topic: str, holds: bool, questions: tuple[str, ...], weights: tuple[float, ...]) -> Trait:
    """A yes-no trait; `weights` are the frequencies of yes and no among the images asked about."""
    return Trait(topic, "yes" if holds else "no", _YES_NO, facts=questions, weights=weights)


def _ct(state: CtState) -> list[Trait]:
    if 0.0 < state.enhancement < 120.0:
        return []
    asked = (
        "Was intravenous contrast given for this scan?",
        "Are the vessels of this scan enhanced by contrast?",
    )
    return [_fact("contrast", state.enhancement > 0, asked, (0.5 * 130 / 250, 0.5))]


def _dermoscopy(state: DermoscopyState) -> list[Trait]:
    ruler = ("Is a ruler visible in this image?", "Does the image include a millimetre scale?")
    traits = [_fact("ruler", state.ruler, ruler, (0.4, 0.6))]
    if state.hairs == 0 or state.hairs >= 8:
        hairs = ("Are hairs visible on the skin?", "Do hairs cross the image?")
        traits.append(_fact("hairs", state.hairs > 0, hairs, (0.6 * 26 / 31, 0.4)))
    return traits


def _endoscopy(state: EndoscopyState) -> list[Trait]:
    asked = ("Is the lumen in view?", "Does the camera look along the lumen?")
    return [_fact("view", state.view == "tube", asked, (0.55, 0.45))]


def _fundus(state: FundusState) -> list[Trait]:
    return [
        Trait(
            "eye",
            state.eye,
            ("left", "right"),
            claims=("Is this a {} eye?", "Was a {} eye photographed?"),
            choices=("Which eye is this, {} or {}?", "Is this a {} or a {} eye?"),
        )
    ]


def _microscopy(state: MicroscopyState) -> list[Trait]:
    if state.leukocyte == "blast":
        return []
    return [
        Trait(
            "leukocyte",
            state.leukocyte,
            ("neutrophil", "lymphocyte", "monocyte", "eosinophil"),
            claims=("Is the white cell of kind {}?", "Is the leukocyte in view of kind {}?"),
            choices=("What is the white cell, {} or {}?",),
            opens=("What kind of white cell is seen?", "Name the leukocyte in view."),
            weights=(2.0, 2.0, 1.0, 1.0),
        )
    ]


def _mri(state: MriState) -> list[Trait]:
    plane = Trait(
        "plane",
        state.orientation,
        ("axial", "coronal", "sagittal"),
        claims=("Is the plane of this slice {}?", "Is this a slice in {} orientation?"),
        choices=("Is this slice {} or {}?",),
        opens=("In which plane is this slice?", "What is the orientation of the slice?"),
        weights=(2.0, 1.0, 1.0),
    )
    if state.contrast not in ("t1", "t2"):
        return [plane]
    weighting = Trait(
        "weighting",
        {"t1": "T1", "t2": "T2"}[state.contrast],
        ("T1", "T2"),
        claims=("Is this image {}-weighted?",),
        choices=("Is this image {}-weighted or {}-weighted?",),
    )
    return [plane, weighting]


def _ultrasound(state: UltrasoundState) -> list[Trait]:
    asked = ("Is the field of view a sector?", "Was a curved probe used, giving a sector?")
    return [_fact("probe", state.probe == "convex", asked, (0.25, 0.75))]


def _xray(state: XrayState) -> list[Trait]:
    wires = ("Do lines or wires overlie the chest?", "Are overlying wires visible?")
    traits = [_fact("lines", state.wires > 0, wires, (0.25, 0.75))]
    if state.marker:
        traits.append(
            Trait(
                "marker",
                state.marker,
                ("L", "R"),
                claims=("Is the letter in the upper corner of the film {}?",),
                choices=("Which letter marks the film, {} or {}?",),
            )
        )
    return traits


EXTRAS: dict[str, Callable[[Any], list[Trait]]] = {
    "ct": _ct,
    "dermoscopy": _dermoscopy,
    "endoscopy": _endoscopy,
    "fundus": _fundus,
    "microscopy": _microscopy,
    "mri": _mri,
    "ultrasound": _ultrasound,
    "xray": _xray,
}
"""Traits of a state's image, by modality; sections of tissue have none of their own."""
