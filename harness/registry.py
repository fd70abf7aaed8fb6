"""Names to things, resolved on use: tasks, datasets, and what all registries share.

Built-in names come from the folders' catalogues, third-party names from the entry-point groups
`medbench.tokenizers`, `medbench.tasks` and `medbench.datasets`. Nothing heavy is imported before
a thing is used.
"""

from __future__ import annotations

import difflib
import importlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import MedbenchError, UsageError

if TYPE_CHECKING:
    from .datasets.dataset import Dataset
    from .task import Task

logger = logging.getLogger(__name__)

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
        UsageError: no such module or attribute, or another's module that raises on import.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        message = f"{target!r} is not of the form 'package.module:attribute'"
        raise UsageError(message)
    with foreign_code(_origin(module_name), f"importing {target!r}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and f"{module_name}.".startswith(f"{error.name}."):
                message = f"{target!r}: there is no module {error.name!r} here. Is it installed?"
                raise UsageError(message) from error
            raise
        try:
            return getattr(module, attribute)
        except AttributeError as error:
            message = f"{target!r}: module {module_name!r} has no attribute {attribute!r}"
            raise UsageError(message) from error


def _origin(module_name: str) -> str:
    return "medbench" if module_name.partition(".")[0] == "medbench" else module_name


@contextmanager
def foreign_code(origin: str, doing: str) -> Iterator[None]:
    """A failure of code that is not medbench's ends what it was needed for, and nothing else.

    Args:
        origin: whose code the block runs; a failure of medbench's own passes as it is.
        doing: what the block does, in words.

    Raises:
        UsageError: the code raised something, or wanted to end the process.
    """
    try:
        yield
    except MedbenchError:
        raise
    except (Exception, SystemExit) as error:
        if origin == "medbench":
            raise
        logger.exception("%s failed", doing)
        message = f"{doing} failed ({type(error).__name__}: {error}). The code is that of {origin}."
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
    entry = entries[name]
    task = load_target(entry.target)
    if not callable(getattr(task, "run", None)) or not hasattr(task, "default_dataset"):
        message = f"task {name!r}: {entry.target!r}, of {entry.origin}, is no task"
        raise UsageError(message)
    return task


def load_dataset(reference: str, *, data_root: Path | None = None) -> Dataset:
    """The dataset of an id (`medsynth`) or a reader with its place (`folder:PATH`)."""
    entries = dataset_entries()
    name, _, rest = reference.partition(":")
    name, _, variant = name.partition("@")
    if name not in entries:
        known = [n + (":PATH" if n in _TAKE_A_PATH else "") for n in entries]
        raise unknown("dataset", reference, known, listing="medbench list datasets")
    entry = entries[name]
    factory = load_target(entry.target)
    with foreign_code(entry.origin, f"building dataset {reference!r} from {entry.target!r}"):
        return factory(reference, argument=rest, variant=variant, data_root=data_root)
