"""What the recipes of the baselines share: a seeded start, their own terms, and plain defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from ..harness.errors import UsageError
from ..harness.training.config_terms import read_fields

Network = TypeVar("Network", bound=nn.Module)
Method = TypeVar("Method")


class PlainTrainable(Generic[Network]):
    """A network without books, whose keys are upstream's and whose method remembers nothing.

    Args:
        network: with its starting weights.
    """

    spherical = False

    def __init__(self, network: Network) -> None:
        self.network: Network = network

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


def from_scratch(make: Callable[[], Network], *, seed: int) -> Network:
    """A network in training mode whose weights follow from `seed` alone.

    The random state of the process is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().train()


def read_method(config: Mapping[str, Any], kind: type[Method]) -> Method:
    """The `method` of a training configuration: the fields of a dataclass.

    Raises:
        UsageError: a term is unknown, missing or of the wrong kind.
    """
    return read_fields(kind, config.get("method", {}), "method")


def code_vectors(z: torch.Tensor) -> torch.Tensor:
    """What one book is asked for: latent (B, D, h, w) -> (B·h·w, 1, D), without gradient."""
    return z.detach().movedim(1, -1).flatten(0, 2).unsqueeze(1)
