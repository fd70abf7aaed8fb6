"""What the recipes of the baselines share: a seeded start, their own terms, and plain defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from ..harness.errors import UsageError
from ..harness.training.config_terms import read_fields
from ..tokenizers.initialisation import Start
from ..tokenizers.transform_code import PatchTransform

_BIAS = 0.2

Network = TypeVar("Network", bound=nn.Module)
Method = TypeVar("Method")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainMethod:
    """What a configuration says under `method`, of any baseline."""

    start: Start = "upstream"
    """`conditioned`: biases in front of the norms that no residual path leads round."""
    transform_code: bool = False
    """Whether the network learns a transform code before it has codebooks; `transform_code`."""


class PlainTrainable(Generic[Network]):
    """A network without books, whose keys are upstream's and whose method remembers nothing.

    Args:
        network: with its starting weights.
        first_code: what the encoder learns to give, and the decoder to invert, while there are no
            codebooks yet; None: the network finds a code by itself.
    """

    spherical = False

    def __init__(self, network: Network, first_code: nn.Module | None = None) -> None:
        self.network: Network = network
        self.first_code = first_code

    def guided(
        self, z: torch.Tensor, images: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What the decoder gets while nothing is quantised, and the encoder's error against it.

        Args:
            z: the encoder's output (B, D, h, w).
            images: what it came from.

        Returns:
            The first code and the term to add; `z` itself and none where there is no first code.
        """
        if self.first_code is None or not self.network.training:
            return z, {}
        wanted = self.first_code(images)
        return wanted, {"first_code": (z - wanted).square().mean()}

    def codes_placed(self) -> None:
        """Nothing follows from codes that have just got their first values."""

    def books(self) -> Sequence[torch.Tensor]:
        """None."""
        return ()

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As they are."""
        return dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Raises:
            UsageError: there is something to take back.
        """
        if state:
            message = f"this method remembers nothing, but the checkpoint holds {sorted(state)}"
            raise UsageError(message)


def _ends_of_trunk(network: Any) -> Sequence[nn.Module]:
    """What the last norms of an encoder and a decoder of the VQGAN family follow."""
    return network.encoder.before_norm, network.decoder.before_norm


def from_scratch(
    make: Callable[[], Network],
    method: PlainMethod,
    *,
    seed: int,
    before_norms: Callable[[Network], Sequence[nn.Module]] = _ends_of_trunk,
) -> Network:
    """A network in training mode whose weights follow from `seed` alone.

    The random state of the process is left as it was. A norm takes the amplitude of what it gets;
    with a constant beside it, it can be told still. Too large a constant drowns colour.

    Args:
        make: the network, with upstream's starting weights.
        method: a `conditioned` start gives the layers in front of norms a bias of spread 0.2.
        seed: of the weights.
        before_norms: layers that a norm follows which no residual path leads round.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
        for layer in before_norms(network) if method.start == "conditioned" else ():
            if isinstance(layer.bias, torch.Tensor):
                nn.init.normal_(layer.bias, std=_BIAS)
    return network.train()


def first_code(
    method: PlainMethod, count: int, side: int, *, channels: int = 3
) -> PatchTransform | None:
    """The transform code of a latent, where the method asks for one; the numbers are its own.

    Raises:
        UsageError: a patch has fewer coefficients than the latent dimensions.
    """
    return PatchTransform(count, side, channels=channels) if method.transform_code else None


def read_method(config: Mapping[str, Any], kind: type[Method]) -> Method:
    """The `method` of a training configuration: the fields of a dataclass.

    Raises:
        UsageError: a term is unknown, missing or of the wrong kind.
    """
    return read_fields(kind, config.get("method", {}), "method")


def code_vectors(z: torch.Tensor) -> torch.Tensor:
    """What one book is asked for: latent (B, D, h, w) -> (B·h·w, 1, D), without gradient."""
    return z.detach().movedim(1, -1).flatten(0, 2).unsqueeze(1)
