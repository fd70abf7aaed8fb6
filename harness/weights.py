"""Loading checkpoints completely or not at all.

Wrappers that trainers put around a state dict are taken off by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UsageError
from .weights_file import read_content

_WRAPPERS = ("trainer", "unitok", "state_dict", "model", "module", "ema")
"""Keys under which trainers store the weights, in the order of preference at each level."""

_MOST_WRAPPERS = 8

_PREFIXES = ("module.", "_orig_mod.", "core.")
"""What wrappers put before each key: data-parallel training, compilation, MedITok's trainer."""

_SHOWN = 5

_PLAIN = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.complex64, torch.complex128),
    }
)
"""Types of numbers that the comparison below can judge; others (quantised, packed) are refused."""
_LARGEST_REPEATED_BYTES = 64 << 20
"""Of a tensor that repeats what it stores: it costs nothing in a file, and memory when copied."""


def read_state_dict(path: Path, *, prefer: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a checkpoint (safetensors or torch, one file or sharded), wrappers taken off.

    Args:
        path: a checkpoint, the index file of a sharded one, or the folder that holds the index.
        prefer: see `unwrap`.

    Raises:
        UsageError: no such file, empty, truncated, not a checkpoint, without tensors, or a pickle
            that would run code (which is refused unread).
    """
    return unwrap(read_content(path), name=f"weights {path}", prefer=prefer)


def unwrap(content: Any, *, name: str, prefer: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The state dict inside a checkpoint's content.

    Args:
        content: what the file holds.
        name: for messages.
        prefer: wrappers that the model's authors read first, before the usual order.

    Raises:
        UsageError: it holds no tensors by name.
    """
    inner = content
    for _ in range(_MOST_WRAPPERS):  # a pickle can hold itself
        if not isinstance(inner, Mapping) or any(isinstance(v, Tensor) for v in inner.values()):
            break
        wrapper = next(
            (key for key in (*prefer, *_WRAPPERS) if isinstance(inner.get(key), Mapping)), None
        )
        if wrapper is None:
            break
        inner = inner[wrapper]
    if not isinstance(inner, Mapping):
        message = f"{name}: holds a {type(inner).__name__}, not a state dict"
        raise UsageError(message)
    tensors = {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(inner)[:_SHOWN]))
        message = f"{name}: no tensors found in it (keys: {keys or 'none'}); not a state dict"
        raise UsageError(message)
    for key, tensor in tensors.items():
        if reason := _not_plain(tensor):
            message = f"{name}: {key} is {reason}. Save plain tensors of floats or integers."
            raise UsageError(message)
    return _without_prefixes(tensors)


def _not_plain(tensor: Tensor) -> str | None:
    """Why a tensor is not simply numbers in memory."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"a tensor of layout {tensor.layout}"
    if tensor.is_meta:
        return "a tensor without values (on the meta device)"
    if tensor.is_quantized or tensor.dtype not in _PLAIN:
        return f"a tensor of {tensor.dtype}"
    size = tensor.numel() * tensor.element_size()
    if size > max(_LARGEST_REPEATED_BYTES, tensor.untyped_storage().nbytes()):
        return f"a tensor of {tuple(tensor.shape)} that stores fewer values than it has"
    return None


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        # MedITok's trainer stores parts without the prefix beside the tokenizer.
        marked = sum(key.startswith(prefix) for key in state)
        if marked == len(state) or (prefix == "core." and marked):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    name: str,
    allow_unexpected: tuple[str, ...] = (),
    allow_missing: tuple[str, ...] = (),
) -> None:
    """Load a state dict, whole or not at all; floating-point tensors become float32.

    A module on the meta device takes the tensors themselves (no copy), and so needs every key.

    Args:
        module: what is loaded into.
        state: tensors by key.
        name: `name@variant` or a file, for the message.
        allow_unexpected: regular expressions (matched at the start) of keys to leave out.
        allow_missing: regular expressions of keys that keep their present value.

    Raises:
        UsageError: keys are missing or unknown, shapes or kinds differ, or values are not finite;
            the module is left as it was.
    """
    expected = module.state_dict()
    missing = [k for k in expected if k not in state and not _matches(k, allow_missing)]
    unexpected = [k for k in state if k not in expected and not _matches(k, allow_unexpected)]
    shared = [key for key in expected if key in state]
    misfits = [m for k in shared if (m := _misfit(k, state[k], expected[k]))]
    problems = [
        *_listed("missing", missing),
        *_listed("unknown to this network", unexpected),
        *_listed("of another shape or kind", misfits),
    ]
    if problems:
        fitting = len(shared) - len(misfits)
        other = "It is a checkpoint of another model. " if 2 * fitting < len(expected) else ""
        message = (
            f"{name}: the checkpoint does not fit the network: {fitting} of {len(expected)} "
            f"tensors match. {other}{'; '.join(problems)}. Pass the checkpoint that belongs to "
            "this tokenizer, or the --config that belongs to the checkpoint."
        )
        raise UsageError(message)
    broken = [f for k in shared if (f := _not_finite(k, state[k]))]
    if broken:
        message = f"{name}: values that are not finite, {'; '.join(_listed('in', broken))}"
        raise UsageError(message)
    fresh = {k: state[k].float() if state[k].is_floating_point() else state[k] for k in shared}
    on_meta = any(tensor.is_meta for tensor in expected.values())
    module.load_state_dict(fresh, strict=not allow_missing, assign=on_meta)


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(re.match(pattern, key) for pattern in patterns)


def _misfit(key: str, found: Tensor, expected: Tensor) -> str | None:
    if found.shape != expected.shape:
        return f"{key} {tuple(found.shape)} instead of {tuple(expected.shape)}"
    if found.is_floating_point() != expected.is_floating_point() or found.is_complex():
        return f"{key} {found.dtype} instead of {expected.dtype}"
    return None


def _not_finite(key: str, tensor: Tensor) -> str | None:
    if not tensor.is_floating_point():
        return None
    # A sum is finite only if all its terms are: one pass, no mask, in the usual case.
    tensor = tensor if tensor.element_size() > 1 else tensor.float()
    if torch.isfinite(tensor.sum(dtype=torch.float32)):
        return None
    count = int((~torch.isfinite(tensor)).sum())
    return f"{key} ({count} of {tensor.numel()} values)" if count else None


def _listed(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return [f"{what}: {', '.join(items[:_SHOWN])}{more}"]
