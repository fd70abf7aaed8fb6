"""SIGKILL at random moments: by the clock, and right before or after a change of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
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
_KILLS_OF_A_RUN = 3
"""Then it may come through, and what it made is compared."""


@dataclass(slots=True)
class _Hunted:
    """A run from an empty folder, with the kills that it has had and what was wrong after them."""

    scene: Scene
    kills: int = 0
    problems: list[str] = field(default_factory=list)


def _kill(job: Job, place: Place) -> Outcome:
    outcome, reference = Outcome(), place.reference(job)
    wanted = _KILLS.get(job.name, _OTHER_KILLS)
    hunted = None
    for begun in range(wanted * _MOST_STARTS):
        if hunted is None:
            folders = (place.root / f"{name}-{begun}" for name in ("out", "cache"))
            hunted = _Hunted(Scene(place.data, *folders, {}))
        left = wanted - outcome.injected - hunted.kills
        if left and hunted.kills < _KILLS_OF_A_RUN:
            ended = _disturbed(job, hunted.scene, place, reference, parts=wanted)
        else:
            ended = run(job, hunted.scene, again=_has_begun(hunted.scene.out))
        if ended.killed:
            hunted.kills += 1
            hunted.problems += unreadable(hunted.scene.out)
            continue
        if ended.code == 0:
            scene = hunted.scene
            hunted.problems += differences(job.name, scene.out, scene.cache, reference.facts)
        else:
            hunted.problems.append(f"{job.name}: exit code {ended.code}: {ended.errors[-500:]}")
        outcome.add(hunted.problems, injected=hunted.kills)
        if hunted.problems or outcome.injected == wanted:
            break
        hunted = None
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
