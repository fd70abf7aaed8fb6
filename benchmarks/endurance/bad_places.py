"""File systems that cannot be written, and slow ones."""

from __future__ import annotations

import shutil

from fault import Fault, Outcome, Place
from job import INGEST, PROBE, RECON, TRAIN, Scene, run
from judge import differences
from places import read_only

_DELAY_MILLISECONDS = 40


def _read_only(place: Place) -> Outcome:
    """Results, cache and run folder in turn; an answer that is there is still given."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    refused = ((RECON, scene.out), (INGEST, scene.cache), (TRAIN, scene.out))
    problems = []
    for job, folder in refused:
        with read_only(folder):
            found = run(job, scene)
        if not found.said("read-only file system"):
            problems.append(f"{job.name}, {folder.name} read-only: {found}")
    wanted = place.reference(RECON)
    shutil.rmtree(scene.out)
    problems += [] if run(RECON, scene).code == 0 else ["recon does not go on"]
    problems += differences("recon", scene.out, scene.cache, wanted.facts)
    outcome.add(problems, injected=len(refused))
    with read_only(scene.out), read_only(scene.cache):
        found = run(RECON, scene)
        outcome.add([] if found.code == 0 else [f"a finished cell is not answered: {found}"])
    return outcome


def _slow(place: Place) -> Outcome:
    """Every change of a file takes long, as on a network that is busy."""
    if not place.shim:
        return Outcome(skipped="no C compiler")
    outcome = Outcome()
    for job in (RECON, PROBE):
        root = place.root / job.name
        scene = Scene(place.data, root / "out", root / "cache", {})
        found = run(job, scene.under(root, DELAY=_DELAY_MILLISECONDS))
        problems = [] if found.code == 0 else [f"{job.name}: {found.errors[-300:]}"]
        wanted = place.reference(job).facts
        outcome.add(problems + differences(job.name, scene.out, scene.cache, wanted))
    return outcome


FAULTS = [
    Fault("read-only", "results, cache or run folder read-only", _read_only),
    Fault("slow", "every change of a file takes 40 ms longer", _slow),
]
