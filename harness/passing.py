"""Errors of the machine that pass: they say nothing about the file that was being read.

A reader that took them for damage would drop a healthy image for good, delete what was finished,
or have a user replace a file that is whole.
"""

from __future__ import annotations

import errno

from .errors import RunAgain

_PASSING = {
    *(errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO), errno.ESTALE, errno.EBUSY),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EAGAIN, errno.EINTR),
    *(errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH),
    *(errno.ECONNREFUSED, errno.ECONNABORTED, errno.ECONNRESET, errno.ENOTCONN),
}


def run_again_if_passing(error: BaseException, what: object) -> None:
    """Return where an error is the file's own; to be called before the file is called damaged.

    Args:
        error: what was caught; what it was raised from counts as well.
        what: was being read: a path, or the id of an image.

    Raises:
        RunAgain: it lies with the disk, the network or the memory; or it says so already.
    """
    if isinstance(error, RunAgain):
        raise error
    reason = _passing_reason(error)
    if reason is not None:
        message = (
            f"{what}: cannot be read now ({reason}). Nothing says that it is damaged: run the same "
            "command again. Where that does not help, see to disk and memory, or replace the file."
        )
        raise RunAgain(message) from error


def _passing_reason(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, MemoryError):
            return "out of memory"
        if isinstance(error, OSError) and error.errno in _PASSING:
            return error.strerror or str(error)
        error = error.__cause__ or error.__context__
    return None
