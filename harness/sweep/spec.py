"""What a sweep is asked to do: one YAML file, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents import load_yaml
from ..errors import UsageError
from ..training.config_terms import read_fields


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """One task of the grid.

    Attributes:
        name: as registered.
        datasets: ids; empty: the task's own default.
        options: of the task, such as `preset: smoke`.
        limit: images per group; None: the sweep's.
        seeds: the sweep's where empty.
    """

    name: str
    datasets: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    limit: int | None = None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """A grid and how to work through it.

    Attributes:
        tokenizers: names with or without variant; `*@VARIANT` stands for every tokenizer that
            has this variant ready.
        tasks: of the grid.
        seeds: for tasks that draw at random.
        limit: images per group; None: all.
        threads: of every cell, fixed because the number of threads alone changes floats.
        at_a_time: cells that run together on one device.
        devices: `cpu`, `cuda:0` ...; each takes `at_a_time` cells.
        retries: how often a cell is tried again after a crash; a user's mistake is not.
        site: where to build the leaderboard at the end; None: nowhere.
    """

    tokenizers: tuple[str, ...]
    tasks: tuple[TaskTerms, ...]
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    threads: int = 1
    at_a_time: int = 1
    devices: tuple[str, ...] = ("auto",)
    retries: int = 1
    site: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            UsageError: an empty grid, or a count below one.
        """
        for name in ("tokenizers", "tasks", "seeds", "devices"):
            if not getattr(self, name):
                message = f"{name} is empty"
                raise UsageError(message)
        for name, least in (("threads", 1), ("at_a_time", 1), ("retries", 0)):
            if getattr(self, name) < least:
                message = f"{name} is {getattr(self, name)}; it must be at least {least}"
                raise UsageError(message)


def read_spec(path: Path) -> SweepSpec:
    """Load and check a sweep's file.

    Raises:
        UsageError: unreadable, not YAML, or a term is unknown, missing or of the wrong kind.
    """
    try:
        terms = load_yaml(path)
    except (OSError, ValueError) as error:
        message = f"{path}: not a readable sweep: {error}"
        raise UsageError(message) from error
    try:
        return read_fields(SweepSpec, _with_plain_tasks(terms), "the sweep")
    except UsageError as error:
        message = f"{path}: {error}"
        raise UsageError(message) from error


def _with_plain_tasks(terms: Any) -> Any:
    """A task may be written as its name alone."""
    if not isinstance(terms, Mapping) or not isinstance(terms.get("tasks"), list):
        return terms
    tasks = [{"name": each} if isinstance(each, str) else each for each in terms["tasks"]]
    return {**terms, "tasks": tasks}
