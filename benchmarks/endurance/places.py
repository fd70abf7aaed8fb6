"""Disks that are full, or cannot be written: by mounting where that is allowed."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


class CannotMount(Exception):
    """Mounting is not allowed here; says why."""


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A disk of that size at `folder`, as long as the block lasts.

    Raises:
        CannotMount: not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
    with _mounted(folder):
        yield


def make_room(folder: Path, kilobytes: int) -> None:
    """Let the disk at `folder` have another size."""
    _mount("-o", f"remount,size={kilobytes}k", str(folder))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody, not even root, write below `folder`, as long as the block lasts.

    Raises:
        CannotMount: not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount("--bind", str(folder), str(folder))
    with _mounted(folder):
        _mount("-o", "remount,ro,bind", str(folder))
        yield


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        raise CannotMount(reason.strip()) from error
