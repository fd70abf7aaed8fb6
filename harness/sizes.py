"""Numbers of bytes for people."""

from __future__ import annotations

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size_text(size_bytes: int | None) -> str:
    """`1.23 GB`, `45.6 MB`, `7 kB`, `12 bytes`; None is `unknown`. Decimal units."""
    if size_bytes is None:
        return "unknown"
    for unit, factor in _UNITS:
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.{2 if unit == 'GB' else 1 if unit == 'MB' else 0}f} {unit}"
    return f"{size_bytes} bytes"
