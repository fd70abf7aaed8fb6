"""The cells of a sweep: every combination once, each a command line of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files import hash_value
from ..listing import weights_state
from ..registry import load_task
from ..tokenizer_registry import choose_tokenizer, tokenizer_entries
from .spec import SweepSpec, TaskTerms

_EVERY = "*@"


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One `medbench run`.

    Attributes:
        options: of the task, sorted.
        seed: None for a task that draws nothing.
    """

    tokenizer: str
    task: str
    dataset: str
    seed: int | None
    limit: int | None
    options: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Short and the same in every process: names the cell's log and its state."""
        return hash_value(list(self.arguments()))[:12]

    @property
    def title(self) -> str:
        """For people."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.tokenizer} · {self.task} on {self.dataset}{seed}"

    def arguments(self) -> tuple[str, ...]:
        """What `medbench` is called with, but for places and devices."""
        words = ["run", "--tokenizer", self.tokenizer, "--task", self.task]
        words += ["--dataset", self.dataset]
        if self.seed is not None:
            words += ["--seed", str(self.seed)]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        for name, value in self.options:
            words += [f"--{name}", value]
        return tuple(words)

    def command(self, *, output: Path, device: str) -> list[str]:
        """The whole command of this cell."""
        places = ["--output", str(output), "--device", device, "--json"]
        return [sys.executable, "-m", "medbench", *self.arguments(), *places]


def cells_of(spec: SweepSpec) -> list[SweepCell]:
    """All cells, task by task, so that ingested data and trained parts are shared early.

    Raises:
        UsageError: an unknown tokenizer or task, or a `*@VARIANT` that nobody has ready.
    """
    tokenizers = list(dict.fromkeys(_names(spec)))
    cells = [cell for terms in spec.tasks for cell in _of_task(spec, terms, tokenizers)]
    return list(dict.fromkeys(cells))


def _names(spec: SweepSpec) -> Iterator[str]:
    for name in spec.tokenizers:
        if not name.startswith(_EVERY):
            full_name = choose_tokenizer(name).full_name
            yield name if ":" in name else full_name  # a factory is called as it is written
            continue
        variant = name.removeprefix(_EVERY)
        found = [
            f"{entry.name}@{variant}"
            for entry in tokenizer_entries().values()
            if variant in entry.variants and weights_state(entry.variants[variant]) == "ready"
        ]
        if not found:
            message = f"{name}: no tokenizer has the variant {variant!r} ready"
            raise UsageError(message)
        yield from found


def _of_task(spec: SweepSpec, terms: TaskTerms, tokenizers: list[str]) -> Iterator[SweepCell]:
    task = load_task(terms.name)
    seeds = (terms.seeds or spec.seeds) if task.seeded else (None,)
    options = tuple(sorted((name, str(value)) for name, value in terms.options.items()))
    limit = terms.limit if terms.limit is not None else spec.limit
    for dataset in terms.datasets or (task.default_dataset,):
        for tokenizer in tokenizers:
            for seed in seeds:
                yield SweepCell(tokenizer, task.name, dataset, seed, limit, options)
