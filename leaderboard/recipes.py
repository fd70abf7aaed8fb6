"""How values came about, where a task has several ways: its preset, or what was given."""

from __future__ import annotations

from collections.abc import Iterable

from ..harness.record import Record

_GIVEN = ("generator", "model", "answers")
"""Options that put something from elsewhere in the place of what the task would make."""


def recipe(record: Record) -> str:
    """`preset tiny`, `given answers, recipe R`; empty where the task has one way only."""
    options = record.identity.options
    words = [f"given {name}" for name in _GIVEN if name in options]
    said = [f"{name} {options[name]}" for name in ("preset", "recipe") if name in options]
    return ", ".join([*said, *words])


def recipes(records: Iterable[Record]) -> str:
    """The recipes of a table's rows, each said once; records without values do not count."""
    held = {recipe(record) for record in records if record.metrics} - {""}
    return " / ".join(sorted(held))
