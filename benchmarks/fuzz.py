"""Throw damaged and hostile files at a parser: `python benchmarks/fuzz.py records --seconds 60`.

The promise: a MedbenchError that names the file, or success; no other exception, no hang. With
atheris installed (`pip install atheris`) coverage guides the search; without it, valid files are
changed at random. `all` takes every target in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz_targets import TARGETS, Target

SECONDS_EACH = 20
"""After which a file counts as one that hangs the reader."""

TOKENS = [
    *(b"null", b"NaN", b"Infinity", b"-1", b"0", b"1e308", b"1e-308", b"9" * 30, b"true", b'""'),
    *(b"[" * 300, b'{"a":' * 80, b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xfe"),
    *(b"&a [*a]", b"*a", b"!!python/object/apply:os.getcwd []", b"!!timestamp x", b"<<: 3"),
    *(b"../../etc/passwd", b"/dev/zero", b"\\", b"'", b'"', b"\n", b"---\n", b": ", b"\xf0\x9f"),
    *(
        b"!!bool x",
        b"2001-99-99",
        b"\\ud800",
        b"nan",
        b".inf",
        b"? [a]",
        b"!!set {a}",
        b"!!binary a",
    ),
]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1e308, float("nan"), float("inf"), 10**30, 1 << 63, "", "x" * 500, "\x00"),
    *("../..", "/dev/zero", [], {}, [[]], [None], {"": None}, "\ud800", "1e5", "NaN", [1, "a"]),
    *("../../secret", "a\nb", "{}", "%s", -(2**40)),
]


class Hung(BaseException):
    """A file took longer than `SECONDS_EACH`."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hung` in the block when the time is over."""

    def stop(*_: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(target: Target, data: bytes, folder: Path, *, seconds: float = SECONDS_EACH) -> str:
    """Give a file to a parser: `read` or `refused`.

    Raises:
        Exception: whatever breaks the promise.
        Hung: it took too long.
    """
    from medbench.harness.errors import MedbenchError

    path = folder / target.filename
    path.write_bytes(data)
    try:
        with time_limit(seconds):
            target.read(path)
    except MedbenchError as error:
        if path.name not in str(error) and path.parent.name not in str(error):
            message = f"the file is not named: {error}"
            raise AssertionError(message) from error
        return "refused"
    return "read"


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change a valid file: in its structure where it is JSON, and in its bytes."""
    if data[:1] in b"{[" and rng.random() < 0.6:
        with contextlib.suppress(ValueError, RecursionError, UnicodeEncodeError):
            tree = json.loads(data)
            for _ in range(rng.randint(1, 3)):
                tree = _change_tree(tree, rng)
            return json.dumps(tree).encode()
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        _change_bytes(changed, rng)
    return bytes(changed)


def _change_bytes(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    # Headers decide; half of the changes go there.
    if rng.random() < 0.5:
        place = min(place, rng.randrange(600))
    kind = rng.randrange(7)
    if kind == 0 and place < len(data):
        data[place] ^= 1 << rng.randrange(8)
    elif kind == 1 and place < len(data):
        data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    elif kind == 2:
        data[place : place + rng.randint(1, 64)] = b""
    elif kind == 3:
        data[place:place] = rng.choice(TOKENS)
    elif kind == 4:
        token = rng.choice(TOKENS)
        data[place : place + len(token)] = token
    elif kind == 5:
        start = rng.randrange(len(data) + 1)
        data[place:place] = data[start : start + rng.randint(1, 200)]
    elif rng.random() < 0.3:
        del data[place:]


def _change_tree(tree: Any, rng: random.Random) -> Any:
    """One value of the tree replaced, taken out or doubled.

    What is put in is a copy: a list shared with `VALUES` could come to hold itself.
    """
    places: list[tuple[Any, Any]] = []
    waiting = [tree] if isinstance(tree, dict | list) else []
    while waiting:
        each = waiting.pop()
        keys: list[Any] = list(each) if isinstance(each, dict) else list(range(len(each)))
        places += [(each, key) for key in keys]
        waiting += [each[key] for key in keys if isinstance(each[key], dict | list)]
    if not places:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(places)
    kind = rng.randrange(5)
    if kind <= 2:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 3:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(["x", "__class__", "", "\x00"])] = copy.deepcopy(holder[key])
    else:
        holder.append(copy.deepcopy(holder[key]))
    return tree


def by_chance(name: str, seconds: float, seed: int) -> dict[str, int]:
    """Random changes of valid files until the time is over; counts by outcome."""
    target, rng = TARGETS[name], random.Random(seed)
    seeds, counts = target.seeds(), {"read": 0, "refused": 0, "broken": 0}
    with tempfile.TemporaryDirectory() as folder:
        attempt(target, seeds[0], Path(folder), seconds=10 * SECONDS_EACH)  # imports are slow
    end = time.monotonic() + seconds
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            data = mutate(rng.choice(seeds), rng)
            try:
                counts[attempt(target, data, Path(folder))] += 1
            except (Exception, Hung) as error:
                counts["broken"] += 1
                _keep(name, data, error, seen)
    return counts


def _keep(name: str, data: bytes, error: BaseException, seen: set[str]) -> None:
    """Tell a new kind of failure with its place, and keep the file that led to it."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "medbench" in f.filename or "/harness/" in f.filename] or frames
    what = f"{type(error).__name__} at {own[-1].filename}:{own[-1].lineno}"
    if what in seen:
        return
    seen.add(what)
    path = Path(tempfile.gettempdir()) / f"fuzz-{name}-{len(seen)}"
    path.write_bytes(data)
    print(f"{name}: {what}: {str(error)[:300]!r}; the file is kept as {path}")


def by_coverage(name: str, seconds: float) -> None:
    """Atheris' search; it ends the process at the first failure, and keeps the file."""
    import atheris

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(target.seeds()):
            (corpus / str(number)).write_bytes(data)
        place = Path(folder) / "file"
        place.mkdir()

        def once(data: bytes) -> None:
            attempt(target, data, place)

        atheris.instrument_all()
        options = [f"-max_total_time={int(seconds)}", "-timeout=30", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], once)
        atheris.Fuzz()


def main() -> None:
    """Fuzz what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="guided by coverage")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MEDBENCH_CACHE"] = cache
        if given.atheris:
            by_coverage(given.target, given.seconds)
            return
        broken = 0
        for name in TARGETS if given.target == "all" else [given.target]:
            counts = by_chance(name, given.seconds, given.seed)
            broken += counts["broken"]
            told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
            print(f"{name}: {sum(counts.values()):,} files: {told}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
