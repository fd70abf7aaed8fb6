"""Where a number came from: versions, commit, device.

What is unknown is None with a note, never an error.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
    "pytorch-fid",
    "torchmetrics",
    "pytorch-msssim",
)
_GIT_SECONDS = 5
_CREDENTIAL = re.compile(r"(?<=://)[^/@\s]+@|(?<=token=)[^&\s]+|\bhf_[A-Za-z0-9]{8,}")


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that numbers depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> tuple[str | None, bool | None, str | None]:
    """(commit, dirty, note) of the checkout that holds `folder`; a note where it is not one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError) as error:
        return None, None, f"git commit unknown: {type(error).__name__}"
    return commit, dirty, None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(  # noqa: S603 (fixed arguments)
        ["git", "-C", str(folder), *arguments],  # noqa: S607 (the user's git)
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_SECONDS,
    )
    return result.stdout.strip()


def device_name(device: str) -> str | None:
    """What kind of processor a device is; None where the system does not say."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(torch.device(device))
    return platform.processor() or platform.machine() or None


def environment(*, device: str, precision: str, code_version: str) -> dict[str, Any]:
    """The fields of a record's `Environment`."""
    import torch

    from . import package_root, package_version

    notes: list[str] = []
    root = package_root()
    commit, dirty = None, None
    if (root / ".git").exists():
        commit, dirty, note = git_state(root)
        notes += [note] if note else []
    else:
        notes.append("git commit unknown: medbench is installed, not run from a checkout")
    return {
        "medbench": package_version(),
        "code_version": code_version,
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": package_versions(),
        "device": device,
        "device_name": device_name(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "notes": notes,
    }


def command_line() -> str:
    """This process's command, as it can be typed again, with credentials masked."""
    program = Path(sys.argv[0]).name
    program = "medbench" if program in {"__main__.py", "medbench"} else program
    return _CREDENTIAL.sub("***", shlex.join([program, *sys.argv[1:]]))


def utc_now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
