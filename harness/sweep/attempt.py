"""Running one cell as a process of its own: its log, its threads, its verdict."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ExitCode
from ..record import Record
from ..record_files import record_path
from .cells import SweepCell

Verdict = Literal["done", "failed", "refused"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MISTAKES = frozenset({ExitCode.USAGE, ExitCode.MISSING_PREREQUISITE})
"""Another try would end the same way."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a cell.

    Attributes:
        verdict: `done`, `failed` (a crash or a lost worker; may be tried again) or `refused`
            (the request itself cannot be met).
        tries: how many it took.
        reason: the log's last line where it is not done.
        record: path of the record below the results directory, where it is done.
        status: the record's.
    """

    key: str
    verdict: Verdict
    seconds: float
    tries: int
    reason: str = ""
    record: str = ""
    status: str = ""


def attempt(
    cell: SweepCell, *, output: Path, log: Path, device: str, threads: int, retries: int
) -> Attempt:
    """Run a cell until it is done, refused, or out of tries; every try is added to its log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | dict.fromkeys(_THREADS, str(threads))
    started = time.monotonic()
    tries = 0
    verdict: Verdict = "failed"
    found = None
    while verdict == "failed" and tries <= retries:
        tries += 1
        with log.open("ab") as file:
            file.write(f"# try {tries}: {cell.title}\n".encode())
            file.flush()
            done = subprocess.run(  # noqa: S603 (our own command)
                cell.command(output=output, device=device),
                stdout=subprocess.PIPE,
                stderr=file,
                env=environment,
                check=False,
            )
        found = _record(done.stdout)
        verdict = "done" if found is not None else _verdict(done.returncode)
    seconds = time.monotonic() - started
    if found is None:
        reason = _last_line(log) or f"exit code {done.returncode}"
        return Attempt(cell.key, verdict, seconds, tries, reason)
    path = record_path(
        Path(),
        task=found.task,
        dataset_id=found.dataset.id,
        tokenizer=found.full_name,
        key8=found.identity.key8,
    )
    return Attempt(cell.key, verdict, seconds, tries, record=str(path), status=found.status)


def _record(text: bytes) -> Record | None:
    """The one record that `run --json` printed; a cell with unreadable images has one too."""
    try:
        (found,) = json.loads(text)
        return Record.model_validate(found)
    except ValueError:
        return None


def _verdict(code: int) -> Verdict:
    return "refused" if code in _MISTAKES else "failed"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
