"""A small discriminator that needs no weights: it judges patches of the image by convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .adversarial import DiscriminatorKind
from .config_terms import read_fields

_GROUPS = 8


@dataclass(frozen=True, slots=True)
class PatchTerms:
    """Its sizes.

    Attributes:
        channels: of the layers, multiples of 8. The first takes a quarter of the image's side,
            each further one halves it.
    """

    channels: tuple[int, ...] = (32, 64)

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if not self.channels or any(each < 1 or each % _GROUPS for each in self.channels):
            message = f"a patch discriminator needs channels in multiples of 8: {self.channels}"
            raise UsageError(message)


class PatchDiscriminator(nn.Module):
    """A convolution of 4×4 patches, 3×3 convolutions of stride 2, and a logit for each place.

    Group norms, because their statistics are one image's: nothing depends on how a batch is
    shared. Most of the cost of the usual stack of 4×4 convolutions of stride 2 lies in its first
    layers; beginning with patches is about three times faster and learns as fast.

    Args:
        terms: sizes.
    """

    def __init__(self, terms: PatchTerms) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, terms.channels[0], 4, stride=4), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(terms.channels):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.GroupNorm(_GROUPS, outputs, eps=1e-6),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(terms.channels[-1], 1, 3, padding=1))

    def forward(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(b, 3, H, W) in [-1, 1] -> logits (b, n); draws nothing."""
        del generator
        return self.layers(images).flatten(1)


def initialise(layer: nn.Module) -> None:
    """Starting weights of a discriminator's convolutions, as upstream's: for `Module.apply`."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        nn.init.xavier_normal_(layer.weight, gain=0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def build(options: Mapping[str, Any], seed: int) -> PatchDiscriminator:
    """A patch discriminator whose weights follow from the seed; see `PatchTerms` for the options.

    Raises:
        UsageError: an option is unknown or of the wrong kind.
    """
    terms = read_fields(PatchTerms, options, "adversarial.discriminator")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = PatchDiscriminator(terms).apply(initialise)
    return made.to(memory_format=torch.channels_last)


KIND = DiscriminatorKind(build, sketch=lambda options: build(options, 0))
