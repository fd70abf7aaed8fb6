"""Does a weights file fit its network? Load it, reconstruct a few real images, and look.

Keys and shapes that match prove little: a file may belong to another network of the same layout.
So each network that could read it reconstructs `sample`, and the best one is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .metrics.psnr import psnr
from .registry import load_dataset, load_target
from .tokenizer_registry import TokenizerChoice, weights_path

_CLEAR_DB = 0.1
"""A lead that no rounding or device explains; below it, both readings are said to fit."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One network that a file can be read as, and how well it reconstructs."""

    name: str
    psnr_db: float
    """Mean over the images of `sample`."""
    declared: bool
    """Whether the chosen variant reads it so."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What verifying one file found."""

    tokenizer: str
    sha256: str | None
    readings: tuple[Reading, ...]
    mean_colour_db: float
    """PSNR of each image's mean colour: what any working network beats."""

    @property
    def best(self) -> Reading:
        """The reading with the highest PSNR."""
        return max(self.readings, key=lambda reading: reading.psnr_db)

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None if the file fits."""
        declared = next((reading for reading in self.readings if reading.declared), self.best)
        if self.best.psnr_db <= self.mean_colour_db:
            return (
                f"it reconstructs no better than the mean colour ({self.best.psnr_db:.2f} against "
                f"{self.mean_colour_db:.2f} dB): untrained, or of another network"
            )
        if self.best.psnr_db - declared.psnr_db > _CLEAR_DB:
            return (
                f"it fits the network with {self.best.name}, and {self.tokenizer} reads it with "
                f"{declared.name}"
            )
        return None

    @property
    def verdict(self) -> str:
        """What was found, in words."""
        if self.problem is not None:
            return f"PROBLEM: {self.problem}"
        others = [r.psnr_db for r in self.readings if r is not self.best]
        if others and self.best.psnr_db - max(others) <= _CLEAR_DB:
            return "fits; these images cannot tell the readings apart"
        return "fits" if not others else f"fits: it is the network with {self.best.name}"


def verify(choice: TokenizerChoice, *, device: str = "cpu") -> Fit:
    """Load the weights of a choice, completely or not at all, and reconstruct `sample` with them.

    Raises:
        UsageError: the file does not fit the network, or is not the recorded one.
        MissingPrerequisite: it is not on this machine.
    """
    images = np.stack([_square(item.load().rgb) for item in load_dataset("sample").items()])
    config = choice.config
    if config is None and choice.declared is not None:
        config = choice.declared.config
    own = _build(choice, config, device)
    readings: list[Reading] = []
    changes = choice.entry.readings if config is not None else {}
    declared_db = _psnr(own, images, device)
    if not changes:
        readings.append(Reading("its network", declared_db, True))
    for name, change in changes.items():
        tokenizer = _build(choice, {**(config or {}), **change}, device)
        value = _psnr(tokenizer, images, device)
        readings.append(Reading(name, value, value == declared_db))
    flat = images.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    mean_db = float(psnr(images, np.broadcast_to(flat, images.shape).copy()).mean())
    return Fit(choice.full_name, own.info.weights_sha256, tuple(readings), mean_db)


def _build(choice: TokenizerChoice, config: Mapping[str, Any] | None, device: str) -> Any:
    factory = load_target(choice.entry.target)
    return factory(
        variant=choice.variant, config=config, weights=weights_path(choice), device=device
    )


def _square(rgb: np.ndarray) -> np.ndarray:
    from .datasets.images import resize_square

    return resize_square(rgb, 256)


def _psnr(tokenizer: Any, images: np.ndarray, device: str) -> float:
    values = []
    for image in images:
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(device)
        back = tokenizer.decode(tokenizer.encode(batch)).clamp(0, 1).cpu()
        again = (back[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        values.append(float(psnr(image[None], again[None])[0]))
    return float(np.mean(values))
