"""A published or user-given checkpoint: its tensors, its hash, and what is declared of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .file_hashes import file_sha256
from .weights import read_state_dict, unwrap


@dataclass(frozen=True, slots=True)
class Provenance:
    """What `TokenizerInfo` says of a variant's training and licences."""

    training_data: str
    weights_licence: str
    code_licence: str
    source: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors that nobody else holds, and the hash of the file that they come from, if any."""

    state: dict[str, Tensor]
    sha256: str | None


def read_checkpoint(weights: Mapping[str, Tensor] | Path | str, *, name: str) -> Checkpoint:
    """Read a file, or copy a state dict.

    Raises:
        UsageError: it is not a checkpoint.
    """
    if isinstance(weights, Mapping):
        state = {key: value.clone() for key, value in unwrap(weights, name=name).items()}
        return Checkpoint(state, None)
    path = Path(weights)
    return Checkpoint(read_state_dict(path), file_sha256(path))
