"""A fault: what is done to medbench, and what came of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from job import Job
    from judge import Finished


@dataclass(slots=True)
class Outcome:
    """What was counted.

    Attributes:
        injected: faults that really happened.
        recovered: of these, those after which all was as if they had not happened, or which were
            refused in clear words where that is what was promised.
        losses: what was lost or wrong, one line each.
        skipped: why nothing could be tried here; empty where it could.
    """

    injected: int = 0
    recovered: int = 0
    losses: list[str] = field(default_factory=list)
    skipped: str = ""

    def add(self, problems: list[str], *, injected: int = 1) -> None:
        """Count faults, and what was found wrong after them."""
        self.injected += injected
        self.losses += problems
        if not problems:
            self.recovered += injected


@dataclass(frozen=True)
class Place:
    """Where a fault is injected.

    Attributes:
        root: a new, empty folder.
        chance: draws of this fault alone.
        data: folder of the embedded data.
        shim: whether `shim.c` is loaded; not where there is no compiler.
        reference: how a job ends that nothing disturbs.
    """

    root: Path
    chance: random.Random
    data: Path
    shim: bool
    reference: Callable[[Job], Finished]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table.

    Attributes:
        name: for `--only`.
        what: is done, in a few words.
        inject: does it.
    """

    name: str
    what: str
    inject: Callable[[Place], Outcome]
