"""Reading checkpoint files safely: safetensors or torch, whole or in shards.

A checkpoint is data: pickled code is refused before any of it runs.
"""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from .errors import UsageError
from .passing import run_again_if_passing
from .sealed import check_seal
from .weights_shards import index_of, is_index, shard_of_tensors

_TRAINERS = re.compile(
    r"(pytorch_lightning|lightning|lightning_fabric|omegaconf|ml_collections|yacs|addict"
    r"|pathlib|typing)\."
)
"""Modules whose objects trainers leave beside the weights; none of their code is wanted or run."""


_MOST_INFLATION = 4
"""Of archives above `_LARGE`: torch stores tensors as they are, and only a bomb unpacks to more."""
_LARGE_BYTES = 64 << 20


class _Inert:
    """Stands for an object that lies beside the weights: takes anything, does nothing."""

    def __new__(cls, *_parts: Any, **_named: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_parts: Any, **_named: Any) -> None: ...

    def __setstate__(self, _state: Any) -> None: ...


def read_content(path: Path) -> Any:
    """What a checkpoint holds, on the CPU; of a sharded one all tensors together.

    Args:
        path: a file, the index file of a sharded checkpoint, or the folder that holds the index.

    Raises:
        UsageError: no such file, empty, truncated, not a checkpoint, a shard missing, or a pickle
            that would run code (which is refused unread).
    """
    if path.is_dir():
        path = index_of(path)
    _check_head(path)
    if is_index(path):
        return _read_shards(path)
    return _read_file(path)


def is_safetensors(path: Path) -> bool:
    """Whether a file is, by name or by its first bytes, in the safetensors format."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:9] == b"{"


def _read_file(path: Path) -> Any:
    return _read_safetensors(path) if is_safetensors(path) else _read_torch(path)


def _check_head(path: Path) -> None:
    if not path.is_file():
        message = f"weights {path}: the file does not exist. Pass the path of a checkpoint file."
        raise UsageError(message)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        run_again_if_passing(error, f"weights {path}")
        message = f"weights {path}: cannot be read ({error.strerror or error})"
        raise UsageError(message) from error
    check_seal(path, "weights")
    if not head:
        message = f"weights {path}: the file is empty. Fetch or copy it again."
        raise UsageError(message)
    if head.startswith(b"version https://git-lfs"):
        message = f"weights {path}: a Git LFS pointer, not the file itself. Run `git lfs pull`."
        raise UsageError(message)


def _read_shards(index: Path) -> dict[str, Tensor]:
    """All tensors that an index names, each from the shard that it names."""
    shard_of = shard_of_tensors(index)
    tensors: dict[str, Tensor] = {}
    for name in dict.fromkeys(shard_of.values()):
        shard = index.parent / name
        _check_head(shard)
        content = _read_file(shard)
        wanted = [key for key, where in shard_of.items() if where == name]
        lost = [key for key in wanted if not isinstance(content.get(key), Tensor)]
        if lost:
            message = f"weights {shard}: {lost[0]} is not in it, though {index.name} says so"
            raise UsageError(message)
        tensors.update((key, content[key]) for key in wanted)
    return tensors


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path, device="cpu")
    except Exception as error:  # a header can claim anything: types, shapes, offsets
        run_again_if_passing(error, f"weights {path}")
        message = f"weights {path}: not a complete safetensors file ({error}). Copy it again."
        raise UsageError(message) from error


def _read_torch(path: Path) -> Any:
    _check_inflation(path)
    try:
        return _load_torch(path, {})
    except pickle.UnpicklingError as error:
        objects = _foreign_objects(path)
        if objects and all(_TRAINERS.match(name) for name in objects):
            return _load_with_stand_ins(path, objects)
        refused = next((name for name in objects if not _TRAINERS.match(name)), None)
        found = re.search(r"(?:GLOBAL|class|global) [`'\"]?([\w.]+\.[\w.]+)", str(error))
        refused = refused or (found.group(1) if found else None)
        if refused is None:
            message = f"weights {path}: not a torch checkpoint, or a damaged one. Copy it again."
        else:
            message = (
                f"weights {path}: refused unread, because it holds a Python object "
                f"({refused}) and loading it could run code. Ask its author for a "
                "safetensors file, or convert it on a machine that you can lose."
            )
        raise UsageError(message) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        run_again_if_passing(error, f"weights {path}")
        reason = str(error).partition("\n")[0]
        message = f"weights {path}: truncated or not a torch checkpoint ({reason}). Copy it again."
        raise UsageError(message) from error
    except Exception as error:  # garbage can make the restricted reader fail in any way
        message = f"weights {path}: not a torch checkpoint ({type(error).__name__})."
        raise UsageError(message) from error


def _load_with_stand_ins(path: Path, objects: list[str]) -> Any:
    try:
        return _load_torch(path, {name: type("Inert", (_Inert,), {}) for name in objects})
    except Exception as error:
        message = f"weights {path}: not a torch checkpoint ({type(error).__name__}: {error})."
        raise UsageError(message) from error


def _check_inflation(path: Path) -> None:
    """Refuse an archive whose tensors unpack to much more than the file, before they do."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except Exception:  # not an archive: torch's own reader says what it is
        return
    if unpacked > _LARGE_BYTES and unpacked > _MOST_INFLATION * path.stat().st_size:
        message = (
            f"weights {path}: refused unread, because its {path.stat().st_size:,} bytes claim to "
            f"unpack to {unpacked:,}; no checkpoint does. Ask its author for a safetensors file."
        )
        raise UsageError(message)


def _load_torch(path: Path, stand_ins: Mapping[str, type]) -> Any:
    # A namespace of training arguments is plain data, and common in checkpoints.
    allowed: list[Any] = [argparse.Namespace]
    allowed += [(stand_in, name) for name, stand_in in stand_ins.items()]
    with torch.serialization.safe_globals(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)


def _foreign_objects(path: Path) -> list[str]:
    """Names of the objects that the restricted reader does not know; nothing is loaded."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # an old or damaged file cannot be scanned; it is refused as it is
        return []
