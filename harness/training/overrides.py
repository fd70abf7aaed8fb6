"""Changes of a configuration from the command line: `stage1.settings.steps=100`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..documents import parse_yaml
from ..errors import UsageError

_POWER_OF_TEN = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
"""Numbers that JSON writes and YAML 1.1 reads as texts."""
_FORM = "STAGE.TERM=VALUE or TERM=VALUE, as in settings.steps=100"

Overlay = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def apply_overrides(
    stages: Mapping[str, dict[str, Any]], overrides: Sequence[str], overlaid: Overlay
) -> dict[str, dict[str, Any]]:
    """Stages with terms changed, one after the other.

    Args:
        stages: configurations by name.
        overrides: `STAGE.TERM=VALUE`, or `TERM=VALUE` for every stage that has the section in
            which the term lies. The value is YAML; `null` takes a term out, and `STAGE=null` a
            stage.
        overlaid: lays a mapping over another one.

    Raises:
        UsageError: an override has another form, or names neither a stage nor a section.
    """
    found = dict(stages)
    for override in overrides:
        key, value = _read(override)
        named = [name for name in found if key == name or key.startswith(f"{name}.")]
        if named:
            name = max(named, key=len)
            term = key[len(name) + 1 :]
            if not term and value is None:
                del found[name]
                continue
            change = _nested(term, value) if term else value
            if not isinstance(change, Mapping):
                message = f"--set {override}: a stage is a mapping, or null to leave it out"
                raise UsageError(message)
            found[name] = overlaid(found[name], change)
            continue
        section = key.partition(".")[0]
        having = [name for name, config in found.items() if config.get(section) is not None]
        if not having:
            raise _unknown(override, section, found)
        found |= {name: overlaid(found[name], _nested(key, value)) for name in having}
    return found


def with_numbers(value: Any) -> Any:
    """Plain data in which texts such as `1e-6` are the numbers that they are in JSON."""
    if isinstance(value, dict):
        return {name: with_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [with_numbers(each) for each in value]
    if isinstance(value, str) and _POWER_OF_TEN.fullmatch(value):
        return float(value)
    return value


def _read(override: str) -> tuple[str, Any]:
    key, sign, text = override.partition("=")
    if not sign or not text.strip() or not all(key.split(".")):
        message = f"--set {override!r}: write {_FORM} (null takes a term out)"
        raise UsageError(message)
    try:
        return key, with_numbers(parse_yaml(text.encode()))
    except ValueError as error:
        message = f"--set {override!r}: the value is not YAML ({error})"
        raise UsageError(message) from error


def _nested(key: str, value: Any) -> dict[str, Any]:
    """`a.b` and a value -> {a: {b: value}}."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def _unknown(override: str, section: str, stages: Mapping[str, Any]) -> UsageError:
    sections = sorted({name for config in stages.values() for name in config})
    return UsageError(
        f"--set {override}: {section!r} is no stage ({', '.join(stages)}) and no section that a "
        f"stage has ({', '.join(sections)}). Write {_FORM}; a section that is not there yet needs "
        "its stage named"
    )
