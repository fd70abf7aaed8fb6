"""Where things are looked for and kept: the data root, the cache root, the weights root."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UsageError


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser() if value else None


def data_root() -> Path | None:
    """`MEDBENCH_DATA` or None; a root that is named but absent is an error."""
    root = _path("MEDBENCH_DATA")
    if root is not None and not root.is_dir():
        message = f"MEDBENCH_DATA is {root}, which is not a directory. Set it to your data folder."
        raise UsageError(message)
    return root


def cache_root() -> Path:
    """`MEDBENCH_CACHE`, by default the user's cache folder."""
    root = _path("MEDBENCH_CACHE")
    if root is None:
        import platformdirs

        root = Path(platformdirs.user_cache_dir("medbench"))
    data = _path("MEDBENCH_DATA")
    if data is not None and root.resolve().is_relative_to(data.resolve()):
        message = (
            f"the cache {root} lies inside the data root {data}: owners' files and derived files "
            "must not mix. Set MEDBENCH_CACHE to another place."
        )
        raise UsageError(message)
    return root


def weights_root() -> Path:
    """`MEDBENCH_WEIGHTS`, by default `weights` in the cache root."""
    return _path("MEDBENCH_WEIGHTS") or cache_root() / "weights"
