"""Checks of single values of a network's configuration, with errors that name them."""

from __future__ import annotations

from typing import Any

from ..harness.errors import UsageError


def require_count(name: str, value: Any) -> None:
    """Refuse what is no integer of at least 1."""
    if not is_count(value):
        message = f"{name} must be an integer of at least 1, not {value!r}"
        raise UsageError(message)


def require_flag(name: str, value: Any) -> bool:
    """Return a truth value, refusing anything else."""
    if not isinstance(value, bool):
        message = f"{name} must be true or false, not {value!r}"
        raise UsageError(message)
    return value


def is_count(value: Any) -> bool:
    """Whether it is an integer of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def require_counts(name: str, value: Any) -> tuple[int, ...]:
    """Return a list of integers of at least 1 as a tuple, refusing anything else."""
    if not isinstance(value, list | tuple) or not all(map(is_count, value)):
        message = f"{name} must be a list of integers of at least 1, not {value!r}"
        raise UsageError(message)
    return tuple(value)
