"""Several processes that share one cell: killed, and beside a process that wants the same cell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

from fault import Fault, Outcome, Place
from job import RECON, Ended, Scene, Started, run, start
from judge import differences, unreadable

_KILLS = 4
_LOST = "another process of this run is lost"


def _torchrun(arguments: list[str]) -> int:
    """Become the launcher of two ranks."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    os.execv(sys.executable, [*launcher, "--nproc-per-node=2", "-m", "medbench", *arguments])


_BY_TWO = replace(RECON, call=_torchrun)


def _begun(scene: Scene) -> Started:
    """The cell on two ranks, as soon as they have met and their first file is there."""
    process = start(_BY_TWO, scene)
    while process.runs() and not any(scene.out.rglob("*.json")):
        time.sleep(0.02)
    return process


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def _kill(place: Place) -> Outcome:
    """One rank, or launcher and ranks at once; then the same command."""
    outcome, reference = Outcome(), place.reference(RECON)
    for number in range(_KILLS):
        root = place.root / str(number)
        scene = Scene(place.data, root / "out", root / "cache", {})
        process = _begun(scene)
        time.sleep(place.chance.uniform(0.0, reference.seconds))
        ranks, one = _children(process.pid), number % 2 == 0
        for pid in [place.chance.choice(ranks)] if one and ranks else [process.pid, *ranks]:
            _end(pid)
        end = process.ended()
        problems = unreadable(root) if end.code else []
        done = any(scene.out.glob("recon/*/*/*.json"))  # then the others may have left in peace
        if one and end.code and not done and _LOST not in end.errors:
            problems.append(f"a rank was killed, and no word of it: {end.errors[-300:]}")
        problems += _problems(run(_BY_TWO, scene))
        problems += differences("recon", scene.out, scene.cache, reference.facts)
        outcome.add(problems, injected=int(end.code != 0))  # with 0 it had ended before the kill
    return outcome


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _beside_one(place: Place) -> Outcome:
    """The same cell by two ranks, and by one process that comes later: one of them measures."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    several = _begun(scene)
    one = run(RECON, scene)
    problems = [*_problems(several.ended()), *_problems(one)]
    if _measured(one.errors):
        problems.append("measured twice")
    wanted = place.reference(RECON).facts
    outcome.add(problems + differences("recon", scene.out, scene.cache, wanted))
    return outcome


def _measured(log: str) -> bool:
    return any(" on union:" in line and line.endswith(" images") for line in log.splitlines())


def _problems(end: Ended) -> list[str]:
    return [f"exit code {end.code}: {end.errors[-400:]}"] if end.code else []


FAULTS = [
    Fault("kill-ranks", "SIGKILL of one of two ranks, or of both", _kill),
    Fault("ranks-beside-one", "two ranks and one process measure the same cell", _beside_one),
]
