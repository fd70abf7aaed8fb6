"""Checkpoints in several files: an index beside them names the shard of each tensor."""

from __future__ import annotations

from pathlib import Path

from .documents import load_json
from .errors import UsageError
from .file_hashes import file_sha256
from .files import hash_value

_INDEX_FILES = (
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
"""What the hub's libraries call the index of a sharded checkpoint."""
_LONGEST_NAME = 255
_SHOWN = 5


def is_index(path: Path) -> bool:
    """Whether a file is the index of a sharded checkpoint, by its name."""
    return path.name.endswith(".index.json")


def index_of(folder: Path) -> Path:
    """The index that lies in a folder.

    Raises:
        UsageError: none does.
    """
    for name in _INDEX_FILES:
        if (folder / name).is_file():
            return folder / name
    message = (
        f"weights {folder}: the file is a folder, and no index of a sharded checkpoint lies in it "
        f"({', '.join(_INDEX_FILES)}). Pass the path of a checkpoint file."
    )
    raise UsageError(message)


def shard_of_tensors(index: Path) -> dict[str, str]:
    """File name of the shard by tensor; plain names only, so that no path leaves the folder.

    Raises:
        UsageError: not an index, or shards are missing.
    """
    try:
        shard_of = load_json(index)["weight_map"]
        named = [(str(key), str(name)) for key, name in shard_of.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"weights {index}: not the index of a sharded checkpoint ({error})"
        raise UsageError(message) from error
    for _, name in named:
        plain = Path(name).name == name and "\\" not in name and "\0" not in name
        if not plain or len(name.encode(errors="replace")) > _LONGEST_NAME:
            message = f"weights {index}: the shard {name!r} is not a file beside the index"
            raise UsageError(message)
    absent = sorted({name for _, name in named if not (index.parent / name).is_file()})
    if absent:
        more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
        message = (
            f"weights {index}: shards are missing: {', '.join(absent[:_SHOWN])}{more}. "
            "Copy them beside the index."
        )
        raise UsageError(message)
    return dict(named)


def weights_sha256(path: Path) -> str:
    """SHA-256 of a checkpoint: of its file, or of the names and hashes of all its shards.

    Raises:
        UsageError: a folder without an index, an index that is none, or missing shards.
    """
    if path.is_dir():
        path = index_of(path)
    if not is_index(path):
        return file_sha256(path)
    shard_of = shard_of_tensors(path)
    hashes = {name: file_sha256(path.parent / name) for name in set(shard_of.values())}
    return hash_value([sorted(shard_of.items()), sorted(hashes.items())])
