"""Names to things, resolved on use: tasks, datasets, and what all registries share.

Built-in names come from the folders' catalogues, third-party names from the entry-point groups
`medbench.tokenizers`, `medbench.tasks` and `medbench.datasets`. Nothing heavy is imported before
a thing is used.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from .datasets.dataset import Dataset
    from .task import Task

_TASK_CATALOGUE = "medbench.tasks.catalogue"
_DATASET_CATALOGUE = "medbench.harness.datasets.catalogue"
_TAKE_A_PATH = {"folder", "manifest", "jsonl", "wds", "npz", "dicom", "nifti"}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered task or dataset."""

    name: str
    target: str
    summary: str = ""
    origin: str = "medbench"


@dataclass(frozen=True, slots=True)
class TaskPlugin(Plugin):
    """A registered task, and what tables show of its records.

    A column is the name of a metric, or `NAME[SETTING]`.
    """

    columns: tuple[str, ...] = ()
    """Overall values, one column each; the first one orders the table. Empty: every metric."""
    by_modality: tuple[str, ...] = ()
    """Each gets a table of its own."""


def load_target(target: str) -> Any:
    """Import `package.module:attribute`.

    Raises:
        UsageError: no such module or attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        message = f"{target!r} is not of the form 'package.module:attribute'"
        raise UsageError(message)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            message = f"{target!r}: there is no module {error.name!r} here. Is it installed?"
            raise UsageError(message) from error
        raise
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        message = f"{target!r}: module {module_name!r} has no attribute {attribute!r}"
        raise UsageError(message) from error


def unknown(what: str, name: str, known: Iterable[str], *, listing: str) -> UsageError:
    """The error for a name that is not registered, with the nearest ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean: {', '.join(near)}?" if near else ""
    return UsageError(f"unknown {what} {name!r}.{hint} All: {listing}")


def plugins(group: str) -> list[tuple[str, str, str]]:
    """(name, target, distribution) of the entry points of one group."""
    return sorted(
        (point.name, point.value, point.dist.name if point.dist else "unknown")
        for point in entry_points(group=f"medbench.{group}")
    )


def by_name(what: str, entries: Iterable[Any]) -> dict[str, Any]:
    """Entries by their `name`.

    Raises:
        UsageError: two have the same; the message names both origins.
    """
    table: dict[str, Any] = {}
    for entry in entries:
        if entry.name in table:
            message = (
                f"{what} {entry.name!r} is registered twice: by {table[entry.name].origin!r} "
                f"and by {entry.origin!r}. Uninstall one of them, or rename its entry point."
            )
            raise UsageError(message)
        table[entry.name] = entry
    return table


@cache
def task_entries() -> dict[str, TaskPlugin]:
    """All registered tasks by name."""
    own = importlib.import_module(_TASK_CATALOGUE).ENTRIES
    return by_name("task", [*own, *(TaskPlugin(n, t, "", o) for n, t, o in plugins("tasks"))])


@cache
def dataset_entries() -> dict[str, Plugin]:
    """All registered datasets (and readers such as `folder:`) by name."""
    own = importlib.import_module(_DATASET_CATALOGUE).ENTRIES
    return by_name("dataset", [*own, *(Plugin(n, t, "", o) for n, t, o in plugins("datasets"))])


def load_task(name: str) -> Task:
    """The task of that name."""
    entries = task_entries()
    if name not in entries:
        raise unknown("task", name, entries, listing="medbench list tasks")
    return load_target(entries[name].target)


def load_dataset(reference: str, *, data_root: Path | None = None) -> Dataset:
    """The dataset of an id (`medsynth`) or a reader with its place (`folder:PATH`)."""
    entries = dataset_entries()
    name, _, rest = reference.partition(":")
    name, _, variant = name.partition("@")
    if name not in entries:
        known = [n + (":PATH" if n in _TAKE_A_PATH else "") for n in entries]
        raise unknown("dataset", reference, known, listing="medbench list datasets")
    factory = load_target(entries[name].target)
    return factory(reference, argument=rest, variant=variant, data_root=data_root)
