"""What a generator returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from .canvas import Canvas, Field
    from .questions import Asked

StateValue = str | bool | int | float
"""Plain values only: a state can be written as JSON."""


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that is known about an image without rendering it.

    Attributes:
        label: class label, one of the modality's classes.
        modality: name of the modality.
        state: the latent state, flat; see `Sample`.
        patient: id of the patient, unique over splits and modalities of one seed.
        caption: at least 80 characters in clinical wording.
        questions: questions about the image, with answers that can be seen in it.
    """

    label: str
    modality: str
    state: Mapping[str, StateValue]
    patient: str
    caption: str
    questions: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with everything that is known about it.

    Attributes:
        image: uint8 (size, size, 3), RGB; the three channels are equal in grey modalities.
        hounsfield: int16 (size, size) Hounsfield units where the modality is ct, None elsewhere.
        label: class label, one of the modality's classes.
        mask: bool (size, size), True on the lesion; all False where no finding is present.
        modality: name of the modality.
        state: the latent state, flat: the finding (`label`, `present`, `severity`, `grade`, `side`,
            `x`, `y`, `radius`; see `Finding`), then anatomy and acquisition parameters.
        patient: id of the patient, unique over splits and modalities of one seed.
        caption: at least 80 characters in clinical wording.
        questions: questions about the image, with answers that can be seen in it.
    """

    image: np.ndarray
    hounsfield: np.ndarray | None
    label: str
    mask: np.ndarray
    modality: str
    state: Mapping[str, StateValue]
    patient: str
    caption: str
    questions: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A scene before quantisation.

    Attributes:
        pixels: float32; (n, n, 3) or (n, n) intensities in [0, 1], or (n, n) Hounsfield units.
        lesion: float32 (n, n) coverage of the lesion in [0, 1].
    """

    pixels: Field
    lesion: Field


@dataclass(frozen=True, slots=True)
class Generator:
    """A modality: its classes, how its state is drawn, and how the state is rendered.

    Attributes:
        classes: class labels, the healthy one first.
        draw: returns a dataclass with a field `finding`, all other fields plain values or flat
            dataclasses of them.
        render: draws the state on a canvas.
        patient: fields of the state that all images of a patient share.
        lesion: fields of the state that go with the finding wherever it is seen again.
        hounsfield: True where `render` returns Hounsfield units.
    """

    classes: tuple[str, ...]
    draw: Callable[[np.random.Generator], Any]
    render: Callable[[Any, Canvas], Rendering]
    patient: tuple[str, ...]
    lesion: tuple[str, ...] = ()
    hounsfield: bool = False
