"""What a request would run, told without running it: no tokenizer is built, no image is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .registry import load_dataset, load_task
from .request import Request
from .task_options import check_all_taken, takes_options, task_options
from .tokenizer_registry import choose_tokenizer


@runtime_checkable
class Outlined(Protocol):
    """A task that can say what it would do with its options."""

    def outline(self, options: Mapping[str, str]) -> str:
        """In words and numbers, for people; several lines."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell that would be run.

    Attributes:
        tokenizer: full name.
        task: name.
        dataset: id.
        images: that would be scored.
        seed: of the run.
        options: of the task, as its record would name them.
        parts: that the task learns on, with images per group; None for all.
        outline: what the task says of itself; empty where it says nothing.
    """

    tokenizer: str
    task: str
    dataset: str
    images: int
    seed: int
    options: Mapping[str, str]
    parts: Mapping[str, int | None]
    outline: str

    def text(self) -> str:
        """For people."""
        lines = [f"{self.tokenizer} / {self.task} on {self.dataset}: {self.images:,} images"]
        lines += [f"  --{name} {value}" for name, value in self.options.items()]
        for name, count in self.parts.items():
            lines.append(f"  learns on {name}: {'all' if count is None else count} of each group")
        return "\n".join([*lines, *(f"  {line}" for line in self.outline.splitlines())])


def planned(request: Request) -> Sequence[PlannedCell]:
    """The cells of a request, in its order.

    Raises:
        UsageError: what `execute` would refuse before the first cell.
    """
    tasks = [load_task(name) for name in dict.fromkeys(request.tasks)]
    check_all_taken(tasks, request.options)
    names = [
        choose_tokenizer(
            name, config=request.config, weights=request.weights, label=request.label
        ).full_name
        for name in dict.fromkeys(request.tokenizers)
    ]
    cells = []
    for task in tasks:
        dataset = load_dataset(request.dataset or task.default_dataset, data_root=request.data_root)
        chosen, limit = task_options(task, request.options), request.limit
        options: Mapping[str, str] = {}
        parts: Mapping[str, int | None] = {}
        if takes_options(task):
            options = task.check_options(chosen)
            parts = task.parts(dataset, chosen, limit)
            limit = task.scored_limit(dataset, chosen, limit)
        outline = task.outline(chosen) if isinstance(task, Outlined) else ""
        images = len(dataset.items(limit))
        cells += [
            PlannedCell(name, task.name, dataset.id, images, request.seed, options, parts, outline)
            for name in names
        ]
    return cells
