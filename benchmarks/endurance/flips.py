"""Single flipped bits: in every file of a job's cache, and many times in each kind of file."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cached_kinds import KINDS, Kind
from fault import Fault, Outcome, Place
from job import PROBE, RECON, SYNTHESIS, VQA, Scene, run
from judge import differences

from medbench.harness.errors import MedbenchError

_FLIPS = 30
"""Of each kind."""


def _whole_cache(place: Place) -> Outcome:
    """One bit in each file of the cache that a finished job left; then the job again."""
    outcome = Outcome()
    for job in (RECON, PROBE, SYNTHESIS, VQA):
        before = place.reference(job)
        root = place.root / job.name
        scene = Scene(place.data, root / "out", root / "cache", {})
        shutil.copytree(before.cache, scene.cache)
        files = _files(scene.cache)
        for path in files:
            flip(path, place.chance)
        end = run(job, scene)
        problems = [] if end.code == 0 else [f"{job.name}: {end.code}: {end.errors[-500:]}"]
        problems += differences(job.name, scene.out, scene.cache, before.facts)
        outcome.add(problems, injected=len(files))
    return outcome


def _kind(kind: Kind, place: Place) -> Outcome:
    """A bit of one file at a time: what is read afterwards is what was made, or is refused."""
    outcome = Outcome()
    pristine, trial = place.root / "pristine", place.root / "trial"
    with _environment(trial):
        wanted = kind.read(trial, place.data)
        assert kind.read(trial, place.data) == wanted, "the same without a flip"
        trial.rename(pristine)
        for _ in range(_FLIPS):
            shutil.copytree(pristine, trial)
            kind.read(trial, place.data)  # what is remembered of whole files is not believed
            chosen = place.chance.choice([p for p in _files(trial) if kind.within in p.parts])
            where = flip(chosen, place.chance)
            problems = []
            try:
                if kind.read(trial, place.data) != wanted:
                    problems = [f"{chosen.relative_to(trial)}, {where}: accepted in silence"]
            except MedbenchError as error:
                if not kind.refused:
                    problems = [f"{chosen.relative_to(trial)}, {where}: {error}"]
            except Exception as error:
                name = f"{type(error).__name__}: {error}"
                problems = [f"{chosen.relative_to(trial)}, {where}: a crash, {name}"]
            outcome.add(problems)
            shutil.rmtree(trial)
    return outcome


@contextlib.contextmanager
def _environment(root: Path) -> Iterator[None]:
    """This process's cache and weights lie below `root`; what is damaged is told of to nobody."""
    names = {"MEDBENCH_CACHE": str(root / "cache"), "MEDBENCH_WEIGHTS": str(root / "weights")}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _files(root: Path) -> list[Path]:
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.stat().st_size and "locks" not in path.parts
    ]


def flip(path: Path, chance: random.Random) -> str:
    """Flip a bit of a file, chosen at random; says which."""
    place, bit = chance.randrange(path.stat().st_size), chance.randrange(8)
    with path.open("r+b") as file:
        file.seek(place)
        value = file.read(1)[0]
        file.seek(place)
        file.write(bytes([value ^ (1 << bit)]))
    return f"bit {bit} of byte {place}"


FAULTS = [
    Fault("flip-caches", "a bit flipped in every file of a cache", _whole_cache),
    *[
        Fault(f"flip-{kind.name}", f"a bit flipped in {kind.what}", partial(_kind, kind))
        for kind in KINDS
    ],
]
