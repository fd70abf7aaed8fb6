"""Several processes that measure one cell: `torchrun -m medbench run …`.

Shards of images are dealt out by rank and lie on disk, so every rank can read all of them; what
follows from them is computed by each rank for itself, equally, and only the first one writes. The
ranks meet where they need each other's shards, and an error of one is an error of all. A rank that
is lost ends the run of all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

from .errors import CellFailed
from .exclusive import exclusive
from .progress import track

P = TypeVar("P")
S = TypeVar("S")
T = TypeVar("T")

_KNOWN = "_known_to_all_ranks"
_LOST = (
    "another process of this run is lost (killed, or its machine is gone), or the run was stopped. "
    "Finished shards are kept: the same command goes on from them."
)


class RankLost(CellFailed):
    """A rank is gone, and with it the group: no further cell can be measured."""


def join() -> None:
    """Join the ranks that `torchrun` started; without it, nothing is loaded.

    `torchrun` ends the others by SIGTERM as soon as it misses one, mostly before they meet: they
    then say what happened, and exit with `RankLost`'s code.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from .training import parallel

        parallel.join()
        signal.signal(signal.SIGTERM, _end)


def _end(*_: object) -> NoReturn:
    print(f"{RankLost.__name__}: {_LOST}", file=sys.stderr, flush=True)  # noqa: T201
    raise SystemExit(int(RankLost.exit_code))


def count() -> int:
    """How many ranks there are."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    from .training import parallel

    return parallel.world_size()


def own() -> int:
    """This process's rank, from 0."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0
    from .training import parallel

    return parallel.rank()


def together(work: Callable[[], T]) -> T:
    """Do this rank's part, and return when all ranks have done theirs.

    Raises:
        Exception: what this rank's own part raised, else what the first failing rank's did.
        RankLost: a rank is lost.
    """
    if count() == 1:
        return work()
    result, error = None, None
    try:
        result = work()
    except RankLost:  # nobody is left to tell
        raise
    except Exception as own_error:
        if getattr(own_error, _KNOWN, False):  # the ranks met inside `work`, and all know of it
            raise
        error = own_error
    failures = [failure for failure in _exchange(error) if failure is not None]
    if failures:
        raised = error if error is not None else failures[0]
        setattr(raised, _KNOWN, True)
        raise raised
    return result  # type: ignore[return-value]


def first(work: Callable[[], T]) -> T:
    """What the first rank's `work` gives, for all; the others wait for it.

    Raises:
        Exception: what `work` raised.
        RankLost: a rank is lost.
    """
    if count() == 1:
        return work()
    found: list[T] = []
    together(lambda: found.append(work()) if own() == 0 else None)
    return _exchange(found)[0][0]


@contextlib.contextmanager
def alone(name: str, what: str) -> Iterator[None]:
    """`exclusive` for all ranks together: the first one holds the lock, the others wait with it.

    Args:
        name: of the lock.
        what: is being made, for whoever waits.

    Raises:
        UsageError: the lock's place cannot be written.
        RankLost: a rank is lost.
    """
    with contextlib.ExitStack() as stack:
        first(lambda: stack.enter_context(exclusive(name, what)))
        yield


def dealt(items: Sequence[S], work: Callable[[S], T], *, label: str) -> list[T]:
    """`work` of every item, in order, for all ranks; each rank does its share.

    Args:
        items: the same on all ranks.
        work: gives what can be pickled.
        label: what the progress line says.

    Raises:
        Exception: what `work` raised, on this rank or on the first failing one.
        RankLost: a rank is lost.
    """
    mine = items[own() :: count()]
    found: list[T] = []
    together(lambda: found.extend(map(work, track(mine, total=len(mine), label=label))))
    if count() == 1:
        return found
    shares = _exchange(found)
    return [shares[place % count()][place // count()] for place in range(len(items))]


def _exchange(own_part: P) -> list[P]:
    import torch.distributed as dist

    found: list[Any] = [None] * count()
    try:
        dist.all_gather_object(found, own_part)
    except RuntimeError as lost:
        raise RankLost(_LOST) from lost
    return found
