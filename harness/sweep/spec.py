"""What a sweep is asked to do: one YAML file, checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..device_name import check_device_name
from ..documents import load_yaml
from ..errors import UsageError
from ..files import canonical_json
from ..inputs import parse_config
from ..precision import Precision
from ..tokenizer_registry import TokenizerChoice, choose_tokenizer
from ..training.config_terms import read_fields

EVERY = "*@"
"""Begins a name that stands for every tokenizer that has the variant ready."""


@dataclass(frozen=True, slots=True)
class TokenizerTerms:
    """A tokenizer of the grid, or a checkpoint of one.

    Attributes:
        name: as registered, with or without variant.
        weights: path of a checkpoint of one's own.
        config: of the model: its terms, or a JSON file with them.
        label: variant name of one's own weights or config.
    """

    name: str
    weights: str | None = None
    config: str | dict[str, Any] | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuse what names nothing single.

        Raises:
            UsageError: a checkpoint of many tokenizers.
        """
        if self.name.startswith(EVERY) and self.own:
            message = f"{self.name} names many tokenizers: weights, config and label go with one"
            raise UsageError(message)

    @property
    def own(self) -> tuple[tuple[str, str], ...]:
        """What goes with the name on the command line."""
        config = canonical_json(self.config) if isinstance(self.config, dict) else self.config
        pairs = (("weights", self.weights), ("config", config), ("label", self.label))
        return tuple((name, value) for name, value in pairs if value is not None)

    def choice(self) -> TokenizerChoice:
        """The tokenizer, unless the name stands for many.

        Raises:
            UsageError: there is none of that name, or its weights or configuration are not there.
        """
        own = dict(self.own)
        weights = None if self.weights is None else Path(self.weights)
        if weights is not None and not weights.exists():
            message = f"{self.name}: there are no weights at {weights}"
            raise UsageError(message)
        config = parse_config(own.get("config"))
        return choose_tokenizer(self.name, config=config, weights=weights, label=self.label)


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """One task of the grid.

    Attributes:
        name: as registered.
        datasets: ids; empty: the task's own default.
        options: of the task, such as `preset: smoke` or `retention: true`.
        limit: images per group; None: the sweep's.
        seeds: the sweep's where empty.
    """

    name: str
    datasets: tuple[str, ...] = ()
    options: dict[str, str | bool] = field(default_factory=dict)
    limit: int | None = None
    seeds: tuple[int, ...] = ()

    @property
    def given(self) -> dict[str, str]:
        """The options as a request has them: `true` is `yes`, and `false` is not given."""
        chosen = {name: value for name, value in self.options.items() if value is not False}
        return {n: "yes" if value is True else str(value) for n, value in chosen.items()}


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """A grid and how to work through it.

    Attributes:
        tokenizers: of the grid; `*@VARIANT` stands for every one that has this variant ready.
        tasks: of the grid.
        seeds: for tasks that draw at random.
        limit: images per group; None: all.
        batch_size: images per forward pass; None: found automatically.
        precision: of the tokenizers' own arithmetic.
        data_root: where data sets lie; None: what the environment says.
        threads: of every cell, fixed because the number of threads alone changes floats.
        at_a_time: cells that run together on one device.
        devices: `cpu`, `cuda:0` ...; each takes `at_a_time` cells.
        retries: how often a cell is tried again after a crash; a user's mistake is not.
        site: where to build the leaderboard at the end; None: nowhere.
    """

    tokenizers: tuple[TokenizerTerms, ...]
    tasks: tuple[TaskTerms, ...]
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    batch_size: int | None = None
    precision: Precision = Precision.FP32
    data_root: str | None = None
    threads: int = 1
    at_a_time: int = 1
    devices: tuple[str, ...] = ("auto",)
    retries: int = 1
    site: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            UsageError: an empty grid, a count below one, or what is no device.
        """
        for name in ("tokenizers", "tasks", "seeds", "devices"):
            if not getattr(self, name):
                message = f"{name} is empty"
                raise UsageError(message)
        for name, least in (("threads", 1), ("at_a_time", 1), ("retries", 0), ("batch_size", 1)):
            count = getattr(self, name)
            if count is not None and count < least:
                message = f"{name} is {count}; it must be at least {least}"
                raise UsageError(message)
        for device in self.devices:
            check_device_name(device)


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
        return read_fields(SweepSpec, _with_plain_names(terms), "the sweep")
    except UsageError as error:
        message = f"{path}: {error}"
        raise UsageError(message) from error


def _with_plain_names(terms: Any) -> Any:
    """A tokenizer or a task may be written as its name alone."""
    if not isinstance(terms, Mapping):
        return terms
    lists = {n: terms[n] for n in ("tokenizers", "tasks") if isinstance(terms.get(n), list)}
    named = {
        name: [{"name": each} if isinstance(each, str) else each for each in entries]
        for name, entries in lists.items()
    }
    return {**terms, **named}
