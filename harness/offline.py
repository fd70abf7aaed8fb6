"""`--offline`: the process refuses to open a network connection."""

from __future__ import annotations

import os
import socket
from typing import Any

from .errors import UsageError


def block_network() -> None:
    """Make every attempt to reach another machine fail, with a clear message.

    Local (Unix) sockets stay usable. The hub's own offline switches are set as well, so that
    libraries look into their caches instead of failing late.
    """
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ[variable] = "1"

    def refuse(_self: socket.socket, address: Any, *_rest: Any) -> None:
        message = f"--offline: something tried to connect to {address}"
        raise UsageError(message)

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            refuse(self, address)
        original(self, address)

    original = socket.socket.connect
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = lambda host, *_rest, **_named: refuse(None, host)  # type: ignore[assignment,arg-type]
