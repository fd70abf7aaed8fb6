"""Too little memory: batches halve, or the run ends in clear words and goes on elsewhere."""

from __future__ import annotations

from dataclasses import replace

from fault import Fault, Outcome, Place
from job import RECON, Job, Scene, run, start
from judge import differences, facts_of, unreadable

from medbench.harness.errors import ExitCode

_TOKENIZER = '''
import os

import torch

from medbench.baselines.bounds import build_down16


class Hungry:
    """Takes as many images at once as `MOST_IMAGES` says, and runs out of memory with more."""

    def __init__(self, **options):
        self._inner = build_down16(**options)
        self.info = self._inner.info

    def _check(self, images):
        if len(images) > int(os.environ.get("MOST_IMAGES", "1000")):
            raise torch.OutOfMemoryError("out of memory: tried to allocate 99 GiB")

    def encode(self, images):
        self._check(images)
        return self._inner.encode(images)

    def decode(self, encoding):
        return self._inner.decode(encoding)

    def features(self, images):
        self._check(images)
        return self._inner.features(images)
'''
_LIMITS_MEBIBYTES = (1, 20, 60, 100, 150, 250)
_TRIED_AGAIN = (ExitCode.CELLS_FAILED, ExitCode.RUN_AGAIN)
"""By a sweep; what is called a mistake in the request, or damage, is not."""
_OF_MEMORY = ("out of memory", "too little memory", "cannot allocate memory", "fits into memory")


def _batches(place: Place) -> Outcome:
    """A device that holds 5, 2, 1 and no image."""
    outcome = Outcome()
    (place.root / "hungry.py").write_text(_TOKENIZER)
    arguments = tuple(a.replace("down16", "hungry:Hungry") for a in RECON.arguments)
    job = replace(RECON, arguments=arguments)
    environment = {"PYTHONPATH": f"{place.root}"}
    scene = Scene(place.data, place.root / "out", place.root / "cache", environment)
    if (end := run(job, scene)).code != 0:
        outcome.losses.append(end.errors[-500:])
        return outcome
    wanted = facts_of(job.name, scene.out, scene.cache)
    for images in (5, 2, 1):
        small = _scene(scene, place, images)
        end = run(job, small)
        problems = [] if end.code == 0 else [f"{images} images fit: {end.errors[-300:]}"]
        if "halving" not in end.errors:
            problems.append(f"{images} images fit: no word of it")
        outcome.add(problems + differences(job.name, small.out, small.cache, wanted))
    outcome.add(_nothing_fits(job, _scene(scene, place, 0), wanted))
    return outcome


def _scene(scene: Scene, place: Place, images: int) -> Scene:
    environment = {**scene.environment, "MOST_IMAGES": str(images)}
    return replace(scene, out=place.root / f"out-{images}", environment=environment)


def _nothing_fits(job: Job, scene: Scene, wanted: dict[str, object]) -> list[str]:
    end = run(job, scene)
    problems = [] if end.said("not even one image fits") else [f"no image fits: {end}"]
    elsewhere = replace(scene, environment={**scene.environment, "MOST_IMAGES": "1000"})
    last = run(job, elsewhere)
    problems += [] if last.code == 0 else [last.errors[-300:]]
    return problems + differences(job.name, scene.out, scene.cache, wanted)


def _address_space(place: Place) -> Outcome:
    """The system gives no more memory, earlier or later."""
    outcome = Outcome()
    scene = Scene(place.data, place.root / "out", place.root / "cache", {})
    wanted = place.reference(RECON).facts
    faults, problems = 0, []
    for mebibytes in _LIMITS_MEBIBYTES:
        end = start(RECON, scene, more_bytes=mebibytes << 20).ended()
        if end.code == 0:
            break
        faults += 1
        if end.code not in _TRIED_AGAIN or not end.said(*_OF_MEMORY):
            problems.append(f"{mebibytes} MiB: no word of memory: {end}")
        problems += unreadable(place.root)
    last = run(RECON, scene)
    problems += [] if last.code == 0 else [last.errors[-300:]]
    problems += differences("recon", scene.out, scene.cache, wanted)
    outcome.add(problems, injected=faults)
    return outcome


FAULTS = [
    Fault("memory-of-the-device", "a device that holds 5, 2, 1 and no image", _batches),
    Fault("memory-of-the-system", "no more memory from the system", _address_space),
]
