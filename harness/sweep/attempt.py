"""Running one cell as a process of its own: its log, its threads, its verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import FiniteFloat

from ..errors import ExitCode, UsageError
from ..record import Record
from ..record_files import record_path
from .cells import SweepCell

Verdict = Literal["done", "failed", "refused", "stopped"]

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MISTAKES = frozenset({ExitCode.USAGE, ExitCode.MISSING_PREREQUISITE})
"""Another try would end the same way."""
_STOPPED = frozenset({ExitCode.INTERRUPTED, -signal.SIGINT})
"""Somebody wanted it to end; SIGTERM alone is also how machines that are taken away end it."""
_TITLE = "# try"
"""Begins the line above each try in a log."""
_LOOK_SECONDS = 0.2
"""How often a running cell asks whether it is to stop."""


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What is the same for all cells of a sweep.

    Attributes:
        output: results directory.
        threads: of every cell.
        retries: further tries of a cell.
        force: measure again, whatever record there is.
        environment: variables besides those of this process.
        folder: that relative paths start from; None: this process's.
    """

    output: Path
    threads: int = 1
    retries: int = 0
    force: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a cell.

    Attributes:
        verdict: `done`, `failed` (a crash, a lost worker, or an error that says to run again; may
            be tried again), `refused` (the request itself cannot be met) or `stopped` (by
            somebody; what is finished of it is kept).
        tries: how many it took.
        reason: the log's last line, or how the process ended, where it is not done.
        record: path of the record below the results directory, where it is done.
        status: the record's.
    """

    key: str
    verdict: Verdict
    seconds: FiniteFloat
    tries: int
    reason: str = ""
    record: str = ""
    status: str = ""


def attempt(
    cell: SweepCell,
    terms: RunTerms,
    *,
    log: Path,
    device: str,
    stop: threading.Event | None = None,
) -> Attempt:
    """Run a cell until it is done, refused, or out of tries; every try is added to its log.

    Args:
        cell: to be run.
        terms: of the sweep.
        log: of this cell.
        device: as `--device` takes it.
        stop: ends the cell as soon as it is set.

    Raises:
        UsageError: the log cannot be written.
    """
    command = cell.command(output=terms.output, device=device, force=terms.force)
    started = time.monotonic()
    tries, code = 0, 0
    verdict: Verdict = "failed"
    found = None
    while verdict == "failed" and tries <= terms.retries:
        tries += 1
        with _begun(log, f"{_TITLE} {tries}: {cell.title}\n") as file:
            code, printed = _run(command, terms, file, stop)
        found = _record(printed)
        verdict = "done" if found is not None else _verdict(code, stop)
    seconds = time.monotonic() - started
    if found is None:
        return Attempt(cell.key, verdict, seconds, tries, _reason(code, log))
    path = record_path(
        Path(),
        task=found.task,
        dataset_id=found.dataset.id,
        tokenizer=found.full_name,
        key8=found.identity.key8,
    )
    return Attempt(cell.key, verdict, seconds, tries, record=str(path), status=found.status)


def _begun(log: Path, title: str) -> BinaryIO:
    """The log, with the title of another try."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("ab", buffering=0)
        file.write(title.encode())
    except OSError as error:
        reason = error.strerror or error
        message = f"cannot write {log}: {reason}. Free space or choose another place (--output)."
        raise UsageError(message) from error
    return file


def _run(
    command: list[str], terms: RunTerms, log: BinaryIO, stop: threading.Event | None
) -> tuple[int, bytes]:
    """Exit code and standard output; the process never outlives this call."""
    environment = {**os.environ, **terms.environment}
    environment |= dict.fromkeys(_THREADS, str(terms.threads))
    try:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            command, stdout=subprocess.PIPE, stderr=log, env=environment, cwd=terms.folder
        )
    except OSError as error:  # no memory for one more, too long a command, no such folder
        log.write(f"cannot start: {error}\n".encode())
        return ExitCode.FAILED_CHECK, b""
    with process:
        try:
            printed = _printed(process, stop)
        except BaseException:  # Ray stops a task by a KeyboardInterrupt
            process.terminate()
            process.wait()
            raise
    return process.returncode, printed


def _printed(process: subprocess.Popen[bytes], stop: threading.Event | None) -> bytes:
    while stop is None or not stop.is_set():
        try:
            return process.communicate(timeout=_LOOK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            continue
    process.terminate()  # training saves a checkpoint first
    return process.communicate()[0]


def _record(text: bytes) -> Record | None:
    """The one record that `run --json` printed; a cell with unreadable images has one too."""
    try:
        (found,) = json.loads(text)
        return Record.model_validate(found)
    except ValueError:
        return None


def _verdict(code: int, stop: threading.Event | None) -> Verdict:
    if code in _STOPPED or (stop is not None and stop.is_set()):
        return "stopped"
    return "refused" if code in _MISTAKES else "failed"


def _reason(code: int, log: Path) -> str:
    """The last line of the last try, and the signal that ended it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = "" if last.startswith(_TITLE) else last
    if code >= 0:
        return said or f"exit code {code}"
    known = -code in set(signal.Signals)
    name = signal.Signals(-code).name if known else f"signal {-code}"
    return f"ended by {name}" + (f" after: {said}" if said else "")
