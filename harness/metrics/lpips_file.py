"""Which files LPIPS needs and where they are, without loading anything.

The linear layers ship with the package `lpips`; the trunks' ImageNet weights are torchvision's,
whose file names carry the first digits of their SHA-256.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..locations import weights_root

FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
"""What torchvision calls the weights of each trunk."""
PLACE = "https://download.pytorch.org/models/"
_FOLDER = "lpips"


def places(trunk: str) -> list[Path]:
    """Where a trunk's file is looked for: medbench's weights root, then torch's hub cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch")
    name = FILES[trunk]
    return [weights_root() / _FOLDER / name, torch_home / "hub" / "checkpoints" / name]


def locate(trunk: str) -> Path | None:
    """The trunk's weights file, or None where it is not on this machine.

    Raises:
        UsageError: a file of that name holds something else.
    """
    for path in places(trunk):
        if not path.is_file():
            continue
        expected = path.stem.rpartition("-")[2]
        digest = file_sha256(path)
        if not digest.startswith(expected):
            message = (
                f"{path} is damaged or another file: its SHA-256 starts with {digest[:8]}, its "
                f"name says {expected}. Delete it and get {PLACE}{path.name} again."
            )
            raise UsageError(message)
        return path
    return None


def remedy(trunk: str) -> str:
    """How to get the file."""
    return f"download {PLACE}{FILES[trunk]} to {places(trunk)[0]}"


def absence(trunk: str) -> str:
    """Why LPIPS is absent, and what to do; no path, because records travel."""
    return (
        f"needs the ImageNet weights of its trunk ({FILES[trunk]}), which were not on the machine; "
        f"get {PLACE}{FILES[trunk]} and put it into lpips/ below MEDBENCH_WEIGHTS"
    )


def definition(trunk: str) -> dict[str, Any]:
    """All that changes the numbers of LPIPS."""
    return {
        "network": f"lpips {trunk}, version 0.1, with its linear layers",
        "trunk": FILES[trunk],
        "input": "x / 127.5 - 1, RGB, no resize",
        "mean": "over positions and layers as in the package, then over images",
    }
