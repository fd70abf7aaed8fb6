"""SIGKILL at random moments: by the clock, and right before or after a change of a file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fault import Fault, Outcome, Place
from job import JOBS, Ended, Job, Scene, run, start
from judge import Finished, differences, unreadable

_KILLS = {"synthesis": 6, "vqa": 6, "train": 8}
_OTHER_KILLS = 12
_MOST_OPERATIONS = 12
"""Between a start and the kill, at least one thing is finished and kept."""
_MOST_STARTS = 4
"""Per kill that is wanted; a job may end before its kill."""


def _kill(job: Job, place: Place) -> Outcome:
    outcome, reference = Outcome(), place.reference(job)
    wanted = _KILLS.get(job.name, _OTHER_KILLS)
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    finished = 0
    for begun in range(wanted * _MOST_STARTS):
        if outcome.injected == wanted:
            break
        if finished:  # it came through: again from the beginning, elsewhere
            scene = Scene(
                place.data, place.root / f"out-{begun}", place.root / f"cache-{begun}", {}
            )
        process = _disturbed(job, scene, place, reference, parts=wanted)
        finished = process.code == 0
        if process.killed:
            outcome.add(unreadable(scene.out) if scene.out.exists() else [])
        elif not finished:
            outcome.losses.append(f"{job.name}: exit code {process.code}: {process.errors[-300:]}")
            return outcome
    last = run(job, scene, again=_has_begun(scene.out))
    if last.code != 0:
        outcome.losses.append(f"{job.name} does not go on: {last.errors[-500:]}")
    else:
        outcome.losses += differences(job.name, scene.out, scene.cache, reference.facts)
    return outcome


def _disturbed(job: Job, scene: Scene, place: Place, reference: Finished, *, parts: int) -> Ended:
    """One run that is killed by the clock, or at one of its next changes of files."""
    chance, again = place.chance, _has_begun(scene.out)
    if place.shim and chance.random() < 0.6:
        operation, after = chance.randint(1, _MOST_OPERATIONS), chance.randint(0, 1)
        bad = scene.under(place.root, KILL=operation, AFTER=after)
        return run(job, bad, again=again)
    seconds = chance.uniform(0.1, 1.0) * 2.5 * reference.seconds / parts
    return start(job, scene, again=again).ended(kill_after=seconds)


def _has_begun(out: Path) -> bool:
    """Whether a training says that it holds a run, and wants to be told to go on."""
    return any(out.rglob("latest.json"))


FAULTS = [Fault(f"kill-{job.name}", f"SIGKILL in {job.name}", partial(_kill, job)) for job in JOBS]
