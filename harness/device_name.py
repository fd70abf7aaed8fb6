"""Names of devices, checked without torch: whether one is here is asked where it is used."""

from __future__ import annotations

import re

from .errors import UsageError

_NAME = re.compile(r"auto|(cpu|cuda|mps)(:(0|[1-9][0-9]?))?")


def check_device_name(name: str) -> None:
    """Refuse what is the name of no device.

    Raises:
        UsageError: neither `auto` nor `cpu`, `cuda` or `mps`, with or without a number below 100.
    """
    if not _NAME.fullmatch(name):
        message = f"--device {name!r} is not a device. Use auto, cpu, cuda, cuda:0 or mps."
        raise UsageError(message)
