"""The kinds of error that medbench raises, and the exit code each one gives.

Every message says what was wrong, what was seen and what to do. A command prints the
message without a traceback; anything that is not a `MedbenchError` is a bug and keeps its
traceback.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a `medbench` process returns."""

    OK = 0
    FAILED_CHECK = 1  # a regression, or a failed validation
    USAGE = 2  # the request cannot be understood or carried out as asked
    MISSING_PREREQUISITE = 3  # weights, data or an optional dependency are absent
    CELLS_FAILED = 4  # the run ended, but some images or cells failed
    RUN_AGAIN = 75  # the same command goes on from what is kept (EX_TEMPFAIL of sysexits.h)
    INTERRUPTED = 130  # by Ctrl-C, as shells have it; the same command goes on


class MedbenchError(Exception):
    """Base of all errors that a user can cause and mend."""

    exit_code: ExitCode = ExitCode.USAGE


class UsageError(MedbenchError):
    """The request is wrong: an unknown name, an impossible value, an unreadable file."""

    exit_code = ExitCode.USAGE


class RunAgain(MedbenchError):
    """Nothing is wrong with the request: the same command goes on, or makes good what it met."""

    exit_code = ExitCode.RUN_AGAIN


class MissingPrerequisite(MedbenchError):
    """The request is right, but weights, data or a dependency are not there."""

    exit_code = ExitCode.MISSING_PREREQUISITE


class ValidationFailed(MedbenchError):
    """A check that was asked for (conformance, gate) did not pass."""

    exit_code = ExitCode.FAILED_CHECK


class CellFailed(MedbenchError):
    """One cell of a run could not be completed; other cells go on."""

    exit_code = ExitCode.CELLS_FAILED


class MetricError(MedbenchError, ValueError):
    """The inputs cannot give a meaningful number; the message says what to change."""

    exit_code = ExitCode.CELLS_FAILED


class NotApplicable(MedbenchError):
    """The system cannot take part in this cell by its nature; the record says why."""

    exit_code = ExitCode.OK
