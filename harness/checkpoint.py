"""A published or user-given checkpoint: its tensors and its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .entries import TokenizerEntry
from .errors import UsageError
from .locate import locate
from .weights import read_state_dict, unwrap
from .weights_lock import original_sha256


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors that nobody else holds, and the hash of the file that they come from, if any."""

    state: dict[str, Tensor]
    sha256: str | None


def read_checkpoint(
    weights: Mapping[str, Tensor] | Path | str, *, name: str, prefer: tuple[str, ...] = ()
) -> Checkpoint:
    """Read a file, or copy a state dict; `prefer` as for `unwrap`.

    Raises:
        UsageError: it is not a checkpoint.
    """
    if isinstance(weights, Mapping):
        state = {
            key: value.clone() for key, value in unwrap(weights, name=name, prefer=prefer).items()
        }
        return Checkpoint(state, None)
    path = Path(weights)
    return Checkpoint(read_state_dict(path, prefer=prefer), original_sha256(path))


def checkpoint_of(
    entry: TokenizerEntry,
    variant: str,
    weights: Mapping[str, Tensor] | Path | str | None,
    *,
    config: Mapping[str, Any] | None,
) -> Checkpoint:
    """The weights that a factory was given, or those that its variant declares.

    Args:
        entry: the tokenizer.
        variant: as the factory got it.
        weights: as the factory got it.
        config: as the factory got it; a configuration of the user's own has no declared weights.

    Raises:
        UsageError: no weights were given and none are declared, or they are not a checkpoint.
        MissingPrerequisite: the declared weights are not on this machine.
    """
    name = f"{entry.name}@{variant}"
    if weights is None:
        declared = entry.variants.get(variant)
        own_config = config is not None and (declared is None or config != declared.config)
        if declared is None or declared.weights is None or own_config:
            known = " or ".join(f"{entry.name}@{each}" for each in entry.variants)
            message = (
                f"{name}: no weights were given, and random ones measure nothing. Pass --weights "
                f"PATH, or use {known} without --config."
            )
            raise UsageError(message)
        weights = locate(declared.weights, tokenizer=name)
    return read_checkpoint(weights, name=name, prefer=entry.wrappers)
