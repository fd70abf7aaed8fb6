"""A disk that gets full: below the results, below the cache, below a training's checkpoints."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from fault import Fault, Outcome, Place
from job import INGEST, PROBE, RECON, TRAIN, Ended, Job, Scene, run, start
from judge import differences, unreadable
from places import make_room, small_disk

_WORDS = ("no space left", "cannot write", "are free")
_ROOM_KILOBYTES = 1 << 20
_TRIES = 4


def _small_disk(job: Job, place: Place, folder: Path, kilobytes: int) -> Outcome:
    """The job on a real small disk; then room is made, and it goes on."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    with small_disk(folder, kilobytes):
        first = run(job, scene)
        problems = _refusal(job, first) + unreadable(place.root)
        make_room(folder, _ROOM_KILOBYTES)
        outcome.add(problems + _goes_on(job, scene, place))
    return outcome


def _results(place: Place) -> Outcome:
    return _small_disk(RECON, place, place.root / "out", 300)


def _cache(place: Place) -> Outcome:
    outcome = _small_disk(INGEST, place, place.root / "cache", 3000)
    other = replace(place, root=place.root / "probe")
    found = _small_disk(PROBE, other, other.root / "cache", 24_000)
    outcome.add(found.losses, injected=found.injected)
    return outcome


def _training(place: Place) -> Outcome:
    """The patient trainer waits for room, and is given some."""
    outcome = Outcome()
    problems: list[str] = []
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    with small_disk(scene.out, 120):
        started = start(TRAIN, scene)
        end = time.monotonic() + 4 * max(30.0, place.reference(TRAIN).seconds)
        while "make room" not in started.errors():
            if not started.runs() or time.monotonic() > end:
                problems.append(f"train does not wait for room: {started.errors()[-300:]}")
                break
            time.sleep(0.2)
        problems += unreadable(scene.out)
        make_room(scene.out, _ROOM_KILOBYTES)
        last = started.ended()
        if last.code != 0:
            problems.append(f"train ends though room was made: {last.errors[-300:]}")
        wanted = place.reference(TRAIN).facts
        outcome.add(problems + differences(TRAIN.name, scene.out, scene.cache, wanted))
    return outcome


def _anywhere(place: Place) -> Outcome:
    """The disk is full after a random number of bytes, wherever they are written."""
    if not place.shim:
        return Outcome(skipped="no C compiler")
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    whole = sum(path.stat().st_size for path in place.reference(RECON).out.rglob("*.*"))
    whole += sum(path.stat().st_size for path in place.reference(RECON).cache.rglob("*.*"))
    tries, problems = 0, []
    for number in range(_TRIES):
        room = int(place.chance.uniform(0.02, 0.5) * whole)
        first = run(RECON, scene.under(place.root, BYTES=room))
        if first.code == 0 and number:
            break  # so much was there that the rest had room
        tries += 1
        problems += _refusal(RECON, first) + unreadable(place.root)
    outcome.add(problems + _goes_on(RECON, scene, place), injected=tries)
    return outcome


def _refusal(job: Job, first: Ended) -> list[str]:
    if first.said(*_WORDS):
        return []
    return [f"{job.name} on a full disk: exit code {first.code}: {first.errors[-300:]}"]


def _goes_on(job: Job, scene: Scene, place: Place) -> list[str]:
    last = run(job, scene, again=any(scene.out.rglob("latest.json")))
    if last.code != 0:
        return [f"{job.name} does not go on after room was made: {last.errors[-500:]}"]
    return differences(job.name, scene.out, scene.cache, place.reference(job).facts)


FAULTS = [
    Fault("full-results", "disk full below the results", _results),
    Fault("full-cache", "disk full below the cache", _cache),
    Fault("full-training", "disk full below a training", _training),
    Fault("full-anywhere", "disk full after a random number of bytes", _anywhere),
]
