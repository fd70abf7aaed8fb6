"""Converting a downloaded checkpoint to safetensors, once.

The converted file is read several times faster, mapped rather than unpickled, and holds no code.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from safetensors.torch import save_file

from .errors import UsageError
from .weights import read_state_dict
from .weights_file import is_safetensors


def convert(path: Path, target: Path, *, prefer: tuple[str, ...] = ()) -> bool:
    """Write the tensors of a torch checkpoint, wrappers taken off, as safetensors.

    Args:
        path: the checkpoint.
        target: the new file; it appears complete or not at all.
        prefer: see `weights.unwrap`.

    Returns:
        False where `path` is safetensors already and nothing was written.

    Raises:
        UsageError: it cannot be read, or `target` not be written.
    """
    if is_safetensors(path):
        return False
    state = read_state_dict(path, prefer=prefer)
    # Tensors that share memory are written apart: the format has no sharing.
    apart = {key: tensor.clone().contiguous() for key, tensor in state.items()}
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        save_file(apart, temporary, metadata={"format": "pt"})
        temporary.replace(target)
    except Exception as error:  # the library raises kinds of its own for a full disk
        message = f"cannot write {target}: {error}. Free space; the original is untouched."
        raise UsageError(message) from error
    finally:
        temporary.unlink(missing_ok=True)
    return True
