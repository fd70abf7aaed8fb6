"""The cells of a sweep: every combination once, each a command line of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingPrerequisite, UsageError
from ..files import hash_value
from ..listing import weights_state
from ..locations import data_root
from ..precision import Precision
from ..registry import load_dataset, load_task
from ..request import Request
from ..task import Task
from ..task_options import check_all_taken, takes_options
from ..tokenizer_registry import TokenizerChoice, choose_tokenizer, tokenizer_entries
from .spec import EVERY, SweepSpec, TaskTerms, TokenizerTerms

logger = logging.getLogger(__name__)

_FLAG = "yes"
"""The value of an option that the command line takes without one."""


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One `medbench run`.

    Attributes:
        tokenizer: as `--tokenizer` takes it.
        seed: None for a task that draws nothing.
        options: of the task, sorted.
        own: `weights`, `config` and `label`, as far as given.
        precision: None for float32.
    """

    tokenizer: str
    task: str
    dataset: str
    seed: int | None = None
    limit: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    own: tuple[tuple[str, str], ...] = ()
    batch_size: int | None = None
    precision: str | None = None
    data_root: str | None = None

    @property
    def key(self) -> str:
        """Short and the same in every process: names the cell's log and its state."""
        return hash_value(list(self.arguments()))[:12]

    @property
    def title(self) -> str:
        """For people."""
        own = dict(self.own)
        which = own.get("label") or own.get("weights") or own.get("config")
        shown = f"{self.tokenizer} ({which})" if which else self.tokenizer
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{shown} · {self.task} on {self.dataset}{seed}"

    def arguments(self) -> tuple[str, ...]:
        """What `medbench` is called with, but for places and devices."""
        words = ["run", "--tokenizer", self.tokenizer, "--task", self.task]
        words += ["--dataset", self.dataset]
        further = {"seed": self.seed, "limit": self.limit, "batch-size": self.batch_size}
        places = {"precision": self.precision, "data-root": self.data_root}
        named = {**further, **places, **dict(self.own)}
        for name, value in named.items():
            if value is not None:
                words += [f"--{name}", str(value)]
        for name, value in self.options:
            words += [f"--{name}"] if value == _FLAG else [f"--{name}", value]
        return tuple(words)

    def command(self, *, output: Path, device: str, force: bool = False) -> list[str]:
        """The whole command of this cell."""
        places = ["--output", str(output), "--device", device, "--json"]
        forced = ["--force"] if force else []
        return [sys.executable, "-m", "medbench", *self.arguments(), *places, *forced]

    def choice(self) -> TokenizerChoice:
        """Its tokenizer; errors as those of the terms."""
        return TokenizerTerms(self.tokenizer, **dict(self.own)).choice()

    def request(self, output: Path) -> Request:
        """What its command asks for, but for the tokenizer and the device."""
        return Request(
            tokenizers=(),
            tasks=[self.task],
            dataset=self.dataset,
            limit=self.limit,
            output=output,
            seed=self.seed or 0,
            precision=self.precision or Precision.FP32,
            data_root=_root(self.data_root),
            options=dict(self.options),
        )


def cells_of(spec: SweepSpec) -> list[SweepCell]:
    """All cells, task by task, so that ingested data and trained parts are shared early.

    Raises:
        UsageError: an unknown tokenizer, task, data set or option, a limit, seed or text that no
            command takes, or a `*@VARIANT` that nobody has ready. What only is not on this machine
            refuses its own cells, when they are run.
    """
    tokenizers = [each for terms in spec.tokenizers for each in _named(terms)]
    for each in tokenizers:
        each.choice()
    cells = [cell for terms in spec.tasks for cell in _of_task(spec, terms, tokenizers)]
    for cell in cells:
        _check_arguments(cell)
    return list(dict.fromkeys(cells))


def _check_arguments(cell: SweepCell) -> None:
    """By the rules of the command that will run it."""
    cell.request(Path())
    if any("\0" in word for word in cell.arguments()):
        message = f"{cell.title!r} holds a null character, which no command takes; remove it"
        raise UsageError(message)


def _named(terms: TokenizerTerms) -> Iterator[TokenizerTerms]:
    """With their variants, so that a default is the same cell as the variant by its name."""
    name = terms.name
    if terms.own or (":" in name and not name.startswith(EVERY)):
        yield terms  # a factory is called as it is written
    elif not name.startswith(EVERY):
        yield TokenizerTerms(choose_tokenizer(name).full_name)
    else:
        variant = name.removeprefix(EVERY)
        found = [
            f"{entry.name}@{variant}"
            for entry in tokenizer_entries().values()
            if variant in entry.variants and weights_state(entry.variants[variant]) == "ready"
        ]
        if not found:
            message = f"{name}: no tokenizer has the variant {variant!r} ready"
            raise UsageError(message)
        yield from map(TokenizerTerms, found)


def _of_task(
    spec: SweepSpec, terms: TaskTerms, tokenizers: list[TokenizerTerms]
) -> Iterator[SweepCell]:
    task = load_task(terms.name)
    datasets = terms.datasets or (task.default_dataset,)
    _check(task, terms.given, datasets, _root(spec.data_root))
    for dataset in datasets:
        for tokenizer in tokenizers:
            for seed in (terms.seeds or spec.seeds) if task.seeded else (None,):
                yield SweepCell(
                    tokenizer=tokenizer.name,
                    task=task.name,
                    dataset=dataset,
                    seed=seed,
                    limit=terms.limit if terms.limit is not None else spec.limit,
                    options=tuple(sorted(terms.given.items())),
                    own=tokenizer.own,
                    batch_size=spec.batch_size,
                    precision=None if spec.precision == Precision.FP32 else spec.precision.value,
                    data_root=spec.data_root,
                )


def _check(
    task: Task, options: dict[str, str], datasets: tuple[str, ...], root: Path | None
) -> None:
    check_all_taken([task], options)
    if takes_options(task):
        with _told_where_absent(task):
            task.check_options(options)
    for dataset in datasets:
        with _told_where_absent(task):
            load_dataset(dataset, data_root=root)


@contextmanager
def _told_where_absent(task: Task) -> Iterator[None]:
    try:
        yield
    except MissingPrerequisite as absent:
        logger.warning("cells of %s will be refused on this machine: %s", task.name, absent)


def _root(named: str | None) -> Path | None:
    return Path(named) if named is not None else data_root()
