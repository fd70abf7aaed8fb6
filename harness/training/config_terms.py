"""Reading a part of a training configuration into the dataclass that says what it may hold."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import UsageError

Terms = TypeVar("Terms")


def read_fields(kind: type[Terms], terms: Any, where: str) -> Terms:
    """Make a dataclass of the terms of a configuration.

    Args:
        kind: a dataclass; its fields without a default must be given. Values are checked by
            their annotations, strictly (`"1"` is no number); lists become tuples. Fields may be
            dataclasses in turn, tuples of them, or either or None.
        terms: a mapping as YAML gives it.
        where: the part's place in the configuration, for the message.

    Raises:
        UsageError: a term is unknown, missing or of the wrong kind, or the dataclass itself
            refuses the values.
    """
    known = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(terms, Mapping):
        message = f"{where} must hold {', '.join(sorted(known))} by name, not {terms!r}"
        raise UsageError(message)
    if wrong := sorted(str(name) for name in set(terms) - set(known)):
        message = (
            f"{where} has unknown terms: {', '.join(wrong)}; known: {', '.join(sorted(known))}"
        )
        raise UsageError(message)
    if absent := sorted(n for n, f in known.items() if _needed(f) and n not in terms):
        message = f"{where} lacks {', '.join(absent)}"
        raise UsageError(message)
    hints = typing.get_type_hints(kind)
    values = {name: _read(hints[name], value, f"{where}.{name}") for name, value in terms.items()}
    try:
        return kind(**values)
    except UsageError as error:
        message = f"{where}: {error}"
        raise UsageError(message) from error


def require_at_least(least: int, terms: object, *names: str) -> None:
    """Refuse a dataclass of terms of which one is smaller; None is let pass.

    Raises:
        UsageError: the message names the term and its value.
    """
    for name in names:
        value = getattr(terms, name)
        if value is not None and value < least:
            message = f"{name} must be at least {least}, not {value}"
            raise UsageError(message)


def _needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _read(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return read_fields(hint, value, where)
    choices = typing.get_args(hint)
    if isinstance(hint, types.UnionType) and value is not None:
        inner = [each for each in choices if each is not types.NoneType]
        if len(inner) == 1:
            return _read(inner[0], value, where)
    if typing.get_origin(hint) is tuple and choices and is_dataclass(choices[0]):
        if not isinstance(value, list | tuple):
            message = f"{where} must be a list, not {value!r}"
            raise UsageError(message)
        return tuple(_read(choices[0], each, f"{where}[{k}]") for k, each in enumerate(value))
    if hint is Any:
        return value
    try:
        # As JSON, because there alone "strict" still takes a list for a tuple.
        adapter: TypeAdapter[Any] = TypeAdapter(typing.cast("Any", hint))
        return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        message = f"{where}: {error.errors()[0]['msg']}, not {value!r}"
        if isinstance(value, str) and _is_number(value):
            message += ". YAML reads 1e-3 as text: write 1.0e-3"
        raise UsageError(message) from error
    except (TypeError, ValueError) as error:
        message = f"{where}: {value!r} is neither plain data nor a finite number ({error})"
        raise UsageError(message) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
