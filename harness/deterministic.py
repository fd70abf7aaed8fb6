"""Weights that are a pure function of a seed and of each tensor's key and shape.

Two implementations of one network that are filled by the same rule must agree, without any file
of weights: that is how parity with an upstream implementation is tested.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import UsageError
from .metrics.extractors.philox import fan_in_weights, uniform_weights

Rule = Sequence[Any]
"""(pattern, kind, numbers…); the first rule whose pattern is found in the key holds. Kinds:
`fan_in` gain; `uniform` spread, centre; `const` value; `arange`; `auto` gain (fan_in for two or
more dimensions, else uniform 0.2 around 1 for weights and 0.1 around 0 for the rest)."""

DEFAULT_RULES: tuple[Rule, ...] = (
    ("num_batches_tracked$", "const", 0),
    ("running_mean$", "uniform", 0.1, 0.0),
    ("running_var$", "uniform", 0.5, 1.0),
    ("position_ids$", "arange"),
    (".", "auto", 1.0),
)


def deterministic_array(
    key: str, shape: tuple[int, ...], *, seed: int, rules: Iterable[Rule], dtype: str = "float32"
) -> np.ndarray:
    """The values of one tensor.

    Raises:
        UsageError: no rule holds for the key, or a rule is unknown.
    """
    for pattern, kind, *numbers in rules:
        if re.search(pattern, key) is not None:
            return _values(key, shape, seed, kind, numbers, dtype)
    message = f"no rule for the tensor {key!r}"
    raise UsageError(message)


def _values(
    key: str, shape: tuple[int, ...], seed: int, kind: str, numbers: Sequence[float], dtype: str
) -> np.ndarray:
    if kind == "auto":
        matrix = len(shape) >= 2
        weight = key.endswith("weight")
        kind = "fan_in" if matrix else "uniform"
        numbers = numbers if matrix else ([0.2, 1.0] if weight else [0.1, 0.0])
    if kind == "const":
        return np.full(shape, numbers[0], dtype=dtype)
    if kind == "arange":
        return np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
    if kind == "fan_in":
        return fan_in_weights(seed, key, shape, gain=numbers[0])
    if kind == "uniform":
        return uniform_weights(seed, key, shape, spread=numbers[0], centre=numbers[1])
    message = f"unknown rule {kind!r}; known: auto, fan_in, uniform, const, arange"
    raise UsageError(message)


def deterministic_weights(
    module: nn.Module | Mapping[str, tuple[int, ...]],
    *,
    seed: int = 0,
    rules: Iterable[Rule] = DEFAULT_RULES,
) -> dict[str, Tensor]:
    """A state dict for a network, or for shapes by key.

    Args:
        module: a network (its own keys, shapes and kinds; meta tensors will do), or shapes.
        seed: 0 to 2³² - 1.
        rules: see `Rule`.
    """
    if isinstance(module, nn.Module):
        wanted = {key: (tuple(t.shape), t.dtype) for key, t in module.state_dict().items()}
    else:
        wanted = {key: (tuple(shape), torch.float32) for key, shape in module.items()}
    rules = tuple(rules)
    return {
        key: torch.from_numpy(deterministic_array(key, shape, seed=seed, rules=rules)).to(dtype)
        for key, (shape, dtype) in wanted.items()
    }


def weights_of_case(case: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a reference case, checked against its checksums.

    Args:
        case: `seed`, `rules`, and `state_dict` as a list of `key`, `shape`, `dtype` and `crc32`
            (of the bytes, eight hexadecimal digits).

    Raises:
        UsageError: a tensor's checksum differs, so that a comparison would mean nothing.
    """
    weights = {}
    for entry in case["state_dict"]:
        shape, dtype = tuple(entry["shape"]), entry["dtype"]
        array = deterministic_array(
            entry["key"], shape, seed=case["seed"], rules=case["rules"], dtype=dtype
        )
        found = f"{zlib.crc32(array.tobytes()):08x}"
        if found != entry["crc32"]:
            message = f"{entry['key']}: the checksum is {found}, the case says {entry['crc32']}"
            raise UsageError(message)
        weights[entry["key"]] = torch.from_numpy(array)
    return weights
