"""Several processes at once: the same cell, other cells, a site while records are written."""

from __future__ import annotations

from dataclasses import replace

from fault import Fault, Outcome, Place
from job import PROBE, RECON, SYNTHESIS, TRAIN, Job, Scene, run, start
from judge import differences, unreadable

_MEAN = replace(RECON, arguments=tuple(a.replace("down16", "mean") for a in RECON.arguments))
_SITE = ("leaderboard", "--results", "{out}", "--output", "{out}-site")


def _same_cell(place: Place, *, locks: bool) -> Outcome:
    """The same command twice at once, from an empty cache on."""
    if not locks and not place.shim:
        return Outcome(skipped="no C compiler")
    outcome = Outcome()
    jobs = (RECON, PROBE, SYNTHESIS) if locks else (RECON, PROBE)
    for job in jobs:
        root = place.root / job.name
        scene = Scene(place.data, root / "out", root / "cache", {})
        if not locks:
            scene = scene.under(root, NOLOCK=1)
        ends = [started.ended() for started in [start(job, scene) for _ in range(2)]]
        problems = [f"{job.name}: {e.code}: {e.errors[-400:]}" for e in ends if e.code]
        wanted = place.reference(job).facts
        outcome.add(problems + differences(job.name, scene.out, scene.cache, wanted))
    return outcome


def _same_training(place: Place) -> Outcome:
    """The same training twice at once: one of them trains."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    ends = [started.ended() for started in [start(TRAIN, scene, again=True) for _ in range(2)]]
    problems = [f"train: {each.code}: {each.errors[-400:]}" for each in ends if each.code]
    wanted = place.reference(TRAIN).facts
    outcome.add(problems + differences("train", scene.out, scene.cache, wanted))
    return outcome


def _other_cells(place: Place) -> Outcome:
    """Two cells into one results folder, while sites are built of what is there."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    scene.out.mkdir(parents=True)
    site = Job("site", _SITE)
    processes = [start(RECON, scene), start(_MEAN, scene)]
    problems: list[str] = []
    built = 0
    while any(each.runs() for each in processes):
        code = run(site, scene)
        built += 1
        early = code.code == 2 and "holds no records" in code.errors  # said clearly, and true
        if code.code != 0 and not early:
            problems.append(f"site: exit code {code.code}: {code.errors[-300:]}")
        problems += unreadable(scene.out)
    for each in processes:
        end = each.ended()
        if end.code != 0:
            problems.append(f"exit code {end.code}: {end.errors[-300:]}")
    if len(list(scene.out.glob("*/*/*/*.json"))) != 2:
        problems.append("not two records")
    wanted = place.reference(RECON).facts
    mean = place.root / "mean"
    for folder in scene.out.glob("*/*/mean@*"):
        folder.rename(mean)
    problems += differences("recon", scene.out, scene.cache, wanted)
    outcome.add(problems, injected=2 + built)
    return outcome


def _with_locks(place: Place) -> Outcome:
    return _same_cell(place, locks=True)


def _without_locks(place: Place) -> Outcome:
    return _same_cell(place, locks=False)


FAULTS = [
    Fault("same-cell", "two processes measure the same cell", _with_locks),
    Fault("same-cell-no-locks", "the same on a file system without locks", _without_locks),
    Fault("same-training", "two processes train in one folder", _same_training),
    Fault("site-meanwhile", "two cells and sites at once in one folder", _other_cells),
]
