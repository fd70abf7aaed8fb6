"""Patients: runs of one to four images that share anatomy, device and often the finding.

Ten consecutive indices make a block of four patients with one, two, three and four images, in an
order drawn per block. A patient has a latent state of its own; each of its images takes from it

* the fields that the modality's generator declares as `patient` (anatomy, skin, stain, device),
* with probability `PERSISTENCE` also the finding and the fields that describe it (`lesion`): the
  same lesion seen again; otherwise the image draws its finding independently,

and draws everything else, such as view, slice level, exposure and texture, anew. Both states are
drawn from the same distribution, so the marginal of every single field is as without patients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .latent import Key, chance, open_stream

if TYPE_CHECKING:
    import numpy as np

    from .sample import Generator

IMAGES_OF_PATIENTS: tuple[int, ...] = (1, 2, 3, 4)
"""Images of the patients of one block, before their order is drawn."""

BLOCK = sum(IMAGES_OF_PATIENTS)
"""Indices per block; splits whose size is a multiple of it end with a complete patient."""

PERSISTENCE = 0.7
"""Probability that an image shows its patient's own finding (or its absence)."""


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose image it is.

    Attributes:
        id: unique over splits and modalities of one seed.
        number: position among the patients of the split and modality.
        first: index of the first image.
        images: how many images there are, at consecutive indices.
    """

    id: str
    number: int
    first: int
    images: int


def find_patient(key: Key) -> Patient:
    """Return the patient of a sample, without a walk over the samples before it."""
    block, offset = divmod(key.index, BLOCK)
    sizes = _sizes(block, replace(key, index=0))
    ends = list(accumulate(sizes))
    place = next(place for place, end in enumerate(ends) if offset < end)
    number = block * len(sizes) + place
    first = block * BLOCK + ends[place] - sizes[place]
    return Patient(f"{key.split}/{key.modality}/p{number:05d}", number, first, sizes[place])


def draw_state(generator: Generator, key: Key, rng: np.random.Generator, patient: Patient) -> Any:
    """Draw the state of an image from `rng`, with the fields that it has from its patient."""
    own = generator.draw(rng)
    shared = _shared(generator, patient.number, replace(key, index=0))
    fields = generator.patient
    if chance(rng, PERSISTENCE):
        fields = (*fields, "finding", *generator.lesion)
    return replace(own, **{name: getattr(shared, name) for name in fields})


# Both are drawn once for the neighbours that ask for them: half of the time of a description.


@lru_cache(maxsize=64)
def _sizes(block: int, key: Key) -> tuple[int, ...]:
    """How many images the patients of a block have, in order."""
    order = open_stream("block", block, key).permutation(len(IMAGES_OF_PATIENTS))
    return tuple(IMAGES_OF_PATIENTS[place] for place in order)


@lru_cache(maxsize=64)
def _shared(generator: Generator, number: int, key: Key) -> Any:
    """The state of a patient."""
    return generator.draw(open_stream("patient", number, key))
