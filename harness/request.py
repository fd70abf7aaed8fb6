"""What a user asks to run, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ExitCode, MedbenchError, UsageError
from .precision import Precision
from .record import Record

_SEEDS = 1 << 32
"""Seeds that every library takes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked to run: the grid of tokenizers and tasks on one dataset."""

    tokenizers: Sequence[str]
    tasks: Sequence[str] = ("recon",)
    dataset: str | None = None
    """None: the task's default."""
    limit: int | None = None
    """Images per group."""
    output: Path = Path("results")
    seed: int = 0
    device: str | None = None
    """None: the best one here."""
    batch_size: int | None = None
    """None: found automatically."""
    precision: str = Precision.FP32
    """Of the tokenizer's own arithmetic: `fp32` or `bf16`."""
    weights: Path | None = None
    config: Mapping[str, Any] | None = None
    label: str | None = None
    data_root: Path | None = None
    force: bool = False
    measure: bool = True
    """False: cells that have no record are left without one."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the tasks: `preset`, `extractor`, `retention`, `generator`, `model`, `answers` …"""
    command: str = "medbench (Python API)"

    def __post_init__(self) -> None:
        """Refuse what no cell could carry out.

        Raises:
            UsageError: a count or a seed out of range, an unknown precision, or own weights for
                several tokenizers.
        """
        for option, count in (("--limit", self.limit), ("--batch-size", self.batch_size)):
            if count is not None and count < 1:
                message = f"{option} is {count}; it must be at least 1"
                raise UsageError(message)
        if not 0 <= self.seed < _SEEDS:
            message = f"--seed is {self.seed}; it must be in 0 to {_SEEDS - 1}"
            raise UsageError(message)
        if self.precision not in list(Precision):
            message = f"--precision {self.precision!r}: known are {', '.join(Precision)}"
            raise UsageError(message)
        own = self.weights is not None or self.config is not None or self.label is not None
        if own and len(self.tokenizers) != 1:
            message = "--weights, --config and --label go with exactly one --tokenizer"
            raise UsageError(message)


@dataclass(frozen=True, slots=True)
class CellResult:
    """The record of one cell, or why there is none."""

    tokenizer: str
    task: str
    record: Record | None = None
    path: Path | None = None
    cached: bool = False
    error: MedbenchError | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """All cells of one request."""

    cells: list[CellResult] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """The records, in the order of the request."""
        return [cell.record for cell in self.cells if cell.record is not None]

    @property
    def exit_code(self) -> ExitCode:
        """OK, or CELLS_FAILED where a cell or an image failed; a lone cell keeps its own code."""
        errors = [cell.error for cell in self.cells if cell.error is not None]
        if errors and len(self.cells) == 1:
            return errors[0].exit_code
        if errors or any(record.dataset.failed for record in self.records):
            return ExitCode.CELLS_FAILED
        return ExitCode.OK
