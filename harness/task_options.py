"""Options that only some tasks take: which task gets which, and what none of them knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeGuard

from .errors import UsageError

if TYPE_CHECKING:
    from .datasets.dataset import Dataset
    from .task import Plan, Task, TaskWithOptions


def takes_options(task: Task) -> TypeGuard[TaskWithOptions]:
    """Whether a task has options, or reads other parts of the dataset."""
    return hasattr(task, "options")


def task_options(task: Task, given: Mapping[str, str]) -> dict[str, str]:
    """Those of the given options that the task takes."""
    known = task.options if takes_options(task) else ()
    return {name: value for name, value in given.items() if name in known}


def scored_limit(task: Task, dataset: Dataset, plan: Plan) -> int | None:
    """Images per group that a task scores: the user's limit, or its own; None: all."""
    if not takes_options(task):
        return plan.limit
    return task.scored_limit(dataset, plan.options, plan.limit)


def check_all_taken(tasks: Iterable[Task], given: Mapping[str, str]) -> None:
    """Refuse options that none of the tasks takes.

    Raises:
        UsageError: names the option and what each task takes.
    """
    tasks = list(tasks)
    known = {task.name: task.options if takes_options(task) else () for task in tasks}
    for name in given:
        if not any(name in options for options in known.values()):
            takes = "; ".join(
                f"{task} takes {', '.join(f'--{o}' for o in options) or 'none'}"
                for task, options in known.items()
            )
            message = f"--{name} is not an option of the tasks asked for: {takes}"
            raise UsageError(message)
