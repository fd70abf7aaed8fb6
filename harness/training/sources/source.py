"""What a source of training images promises, and the random draws that belong to one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One image as training sees it.

    Attributes:
        image: float32 (3, side, side) in [0, 1].
        text: what is paired with the image; empty where there is nothing.
        label: its class; empty where none is known.
        modality: a name of the vocabulary; empty for images of nothing in particular.
        problems: of images that should have stood here and could not be read.
    """

    image: torch.Tensor
    text: str = ""
    label: str = ""
    modality: str = ""
    problems: tuple[str, ...] = ()


class ImageSource(Protocol):
    """An endless sequence of images: any place of it can be asked for, in any process.

    Sources are sent to worker processes, so they can be pickled.
    """

    @property
    def size(self) -> int | None:
        """Images of one epoch; None where images are drawn with replacement, without end."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the list that positions stand for; empty where the configuration says it all."""
        ...

    def sample(self, position: int, side: int) -> TrainingImage:
        """The image at `position` (from 0): a pure function of the seed and the arguments.

        Raises:
            UsageError: it cannot be read, nor those that could stand in for it.
        """
        ...


def sample_generator(seed: int, position: int) -> torch.Generator:
    """The random source of everything that is drawn about one image."""
    words = np.random.SeedSequence([seed, position]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
