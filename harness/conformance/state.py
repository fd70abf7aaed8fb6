"""The tensors that a tokenizer holds, wherever it keeps them."""

from __future__ import annotations

import dataclasses
import hashlib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class StoredState:
    """A tokenizer's tensors by place, as digests, and the modules left in training mode."""

    digests: Mapping[str, str]
    training: tuple[str, ...]

    def changed(self, later: StoredState) -> tuple[str, ...]:
        """Places whose tensor became another or vanished; what is new (a cache) is allowed."""
        kept = set(later.digests.values())
        return tuple(
            place
            for place, digest in self.digests.items()
            if later.digests.get(place, digest if digest in kept else "") != digest
        )


def stored_state(tokenizer: object) -> StoredState:
    """Digest every tensor and array that is reachable from the tokenizer's attributes."""
    digests, training = {}, []
    for place, node in reachable(tokenizer):
        if isinstance(node, Tensor):
            flat = node.detach().cpu().contiguous().flatten()
            digests[place] = hashlib.blake2b(flat.view(torch.uint8).numpy().data).hexdigest()
        elif isinstance(node, np.ndarray) and node.dtype.kind in "biufc":
            digests[place] = hashlib.blake2b(np.ascontiguousarray(node).data).hexdigest()
        elif isinstance(node, nn.Module) and node.training:
            training.append(place or "the tokenizer")
    return StoredState(digests, tuple(training))


def reachable(root: object) -> Iterator[tuple[str, object]]:
    """All objects reachable through attributes, mappings and sequences, each once."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield place, node
        waiting += [(f"{place}.{name}".lstrip("."), child) for name, child in _children(node)]


def _children(node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        yield from ((str(key), value) for key, value in node.items())
    elif isinstance(node, list | tuple | set):
        yield from ((str(place), value) for place, value in enumerate(node))
    elif isinstance(node, Tensor | type | types.ModuleType | types.FunctionType):
        return
    elif hasattr(node, "__dict__"):
        yield from vars(node).items()
    elif dataclasses.is_dataclass(node):
        yield from ((f.name, getattr(node, f.name)) for f in dataclasses.fields(node))
