"""Where the FID Inception's weights file is, without loading anything.

The file is the one that pytorch-fid publishes: a port of the network that the FID was defined
with (Inception, 2015-12-05). Another Inception gives other numbers under the same name, so the
content's SHA-256 is checked.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError
from ...file_hashes import file_sha256
from ...locations import weights_root
from .inception_definition import FILE_NAME, SHA256, URL

_FOLDER = "pytorch-fid"


def places() -> list[Path]:
    """Where the file is looked for: medbench's weights root, then torch's hub cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    return [weights_root() / _FOLDER / FILE_NAME, torch_home / "hub" / "checkpoints" / FILE_NAME]


def locate() -> Path | None:
    """The file, or None where it is not on this machine.

    Raises:
        UsageError: a file of that name holds something else.
    """
    for path in places():
        if not path.is_file():
            continue
        digest = file_sha256(path)
        if digest != SHA256:
            message = (
                f"{path} is damaged or not the FID Inception: its SHA-256 is {digest[:16]}…, "
                f"expected {SHA256[:16]}…. Delete it and fetch it again: {URL}"
            )
            raise UsageError(message)
        return path
    return None


def remedy() -> str:
    """How to get the file."""
    return f"download {URL} to {places()[0]}"


def absence() -> str:
    """Why rFID and KID are absent, and what to do; no path, because records travel."""
    return (
        f"needs the FID Inception weights ({FILE_NAME}), which were not on the machine; "
        "medbench doctor says how to get them"
    )
