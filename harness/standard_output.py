"""Standard output for the result alone: what else is printed goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_aside() -> Iterator[None]:
    """Within the block whatever prints, C code and child processes included, prints to stderr.

    So a tokenizer's own words never stand in the JSON that a machine reads.
    """
    own = sys.stdout
    own.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        # By name as well: in a notebook or a test, Python's stdout is not descriptor 1.
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        own.flush()  # whoever imported it before
        _flush_c()
        os.dup2(kept, 1)
        os.close(kept)


def _flush_c() -> None:
    """C has a buffer of its own, which would else reach the restored stdout later."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
