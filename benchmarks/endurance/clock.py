"""A clock that is wrong, or jumps; files from the future and from long ago."""

from __future__ import annotations

import os
import time

from fault import Fault, Outcome, Place
from job import CURATE, RECON, TRAIN, Job, Scene, run, start
from judge import differences

from medbench.harness.cache import Selection, contents, plan, prune

_YEAR = 365 * 86400
_ERRORS = {"ten years ahead": (10 * _YEAR, 10 * _YEAR), "in 1990": (-35 * _YEAR, -35 * _YEAR)}
_ERRORS["jumping by a year"] = (_YEAR, -_YEAR)


def _jumps(place: Place) -> Outcome:
    """Begun under a wrong clock, killed, and gone on with under the right one."""
    if not place.shim:
        return Outcome(skipped="no C compiler")
    outcome = Outcome()
    for job in (RECON, TRAIN, CURATE):
        for number, (name, (first, second)) in enumerate(_ERRORS.items()):
            if job is TRAIN and number < 2:
                continue  # the longest job: once, under the worst clock
            root = place.root / f"{job.name}-{number}"
            scene = Scene(place.data, root / "out", root / "cache", {})
            wrong = scene.under(root, CLOCK=f"{first},{second}")
            seconds = place.chance.uniform(0.4, 0.9) * place.reference(job).seconds
            start(job, wrong).ended(kill_after=seconds)
            outcome.add(_same(job, scene, place, f"the clock {name}, then right"))
    return outcome


def _same(job: Job, scene: Scene, place: Place, when: str) -> list[str]:
    last = run(job, scene, again=any(scene.out.rglob("latest.json")))
    if last.code != 0:
        return [f"{job.name}, {when}: exit code {last.code}: {last.errors[-300:]}"]
    return differences(job.name, scene.out, scene.cache, place.reference(job).facts)


def _file_times(place: Place) -> Outcome:
    """All files of a cache with times of another age: nothing fails, and pruning goes by them."""
    outcome = Outcome()
    for number, seconds in enumerate((20 * _YEAR, -20 * _YEAR)):
        root = place.root / str(number)
        scene = Scene(place.data, root / "out", root / "cache", {})
        run(RECON, scene)
        then = time.time() + seconds
        for path in [*scene.cache.rglob("*"), *scene.out.rglob("*")]:
            os.utime(path, (then, then))
        again = Scene(place.data, root / "again", scene.cache, {})
        problems = _same(RECON, again, place, f"file times off by {seconds} s")
        for path in scene.cache.rglob("*"):
            os.utime(path, (then, then))
        old = plan(contents(scene.cache), Selection(older_than_days=365))
        if bool(old.removed) != (seconds < 0):
            problems.append(f"file times off by {seconds} s: {len(old.removed)} entries are old")
        everything = plan(contents(scene.cache), Selection())
        prune(contents(scene.cache), everything)
        if contents(scene.cache).entries:
            problems.append(f"file times off by {seconds} s: the cache cannot be emptied")
        outcome.add(problems)
    return outcome


FAULTS = [
    Fault("clock-jumps", "the clock is wrong, or jumps", _jumps),
    Fault("file-times", "files from the future and from long ago", _file_times),
]
