"""A tokenizer under test, with seeded images and its answers on them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import NotApplicable
from .answers import Answers
from .state import reachable, stored_state

if TYPE_CHECKING:
    from ..protocol import Ability, Encoding, Tokenizer

BATCH = 4
SMALLEST_SIDE = 64


class Subject:
    """A tokenizer and its answers on one seeded batch.

    Every call gets a fresh copy of the images, so that a tokenizer that writes into its input
    spoils only the check that looks for it.
    """

    def __init__(self, tokenizer: Tokenizer, *, seed: int) -> None:
        self.tokenizer = tokenizer
        self.info = tokenizer.info
        self.seed = seed
        multiple = max(1, self.info.size_multiple)
        self.side = -(-SMALLEST_SIDE // multiple) * multiple
        self.initial_state = stored_state(tokenizer)
        """Before the first call, so that a change on first use shows."""
        tensors = (node for _, node in reachable(tokenizer) if isinstance(node, Tensor))
        first = next(tensors, None)
        self.device = torch.device("cpu") if first is None else first.device

    @cached_property
    def images(self) -> Tensor:
        """float32 (4, 3, side, side) in [0, 1]; not to be given to the tokenizer itself."""
        return self.make_images(BATCH, self.side)

    def make_images(self, count: int, side: int) -> Tensor:
        """Smooth colours with fine grain, as uint8 values over 255; the seed's own."""
        generator = torch.Generator().manual_seed(self.seed)
        coarse = torch.rand(count, 3, 6, 6, generator=generator)
        smooth = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
        grain = 0.03 * torch.randn(count, 3, side, side, generator=generator)
        return ((smooth + grain).clamp(0, 1) * 255).round().div(255).to(self.device)

    def encode(self, images: Tensor) -> Encoding:
        """The tokenizer's own, on a copy.

        Raises:
            NotApplicable: the tokenizer declares that it cannot.
        """
        self._require_ability("encode")
        return self.tokenizer.encode(images.clone())

    def decode(self, encoding: Encoding) -> Tensor:
        """The tokenizer's own.

        Raises:
            NotApplicable: the tokenizer declares that it cannot.
        """
        self._require_ability("decode")
        return self.tokenizer.decode(encoding)

    def _require_ability(self, ability: Ability) -> None:
        if ability in self.info.cannot:
            raise NotApplicable(self.info.cannot[ability])

    @cached_property
    def encoding(self) -> Encoding:
        """Of `images`."""
        return self.encode(self.images)

    @cached_property
    def decoded(self) -> Tensor:
        """Of `encoding`."""
        return self.decode(self.encoding)

    def feed(self, images: Tensor) -> object:
        """Give the images to the first method that takes some: `encode`, or else a view."""
        if "encode" not in self.info.cannot or not self.view_names:
            return self.encode(images)
        return self.view(self.view_names[0], images)

    @property
    def view_names(self) -> tuple[str, ...]:
        """The representations that it offers: `features`, `continuous`, both or none."""
        names = [n for n in ("features", "continuous") if n not in self.info.cannot]
        return tuple(n for n in names if hasattr(self.tokenizer, n))

    def view(self, name: str, images: Tensor) -> Tensor:
        """`features` or `continuous` of a copy of the images."""
        return getattr(self.tokenizer, name)(images.clone())

    def ask(self, images: Tensor) -> Answers:
        """Everything that the tokenizer can say of these images."""
        encodes, decodes = (a not in self.info.cannot for a in ("encode", "decode"))
        encoding = self.encode(images) if encodes else None
        return Answers(
            encoding=encoding,
            decoded=self.decode(encoding) if encoding is not None and decodes else None,
            views={name: self.view(name, images) for name in self.view_names},
        )

    @cached_property
    def answers(self) -> Answers:
        """For `images`."""
        return self.ask(self.images)
